"""The zarr codecs of waldo's episodes, which read frames without waldo: zarr finds them by their entry points."""
