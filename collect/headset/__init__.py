"""A page for headsets and phones (WebXR), and the server that turns its poses into tracking samples."""
