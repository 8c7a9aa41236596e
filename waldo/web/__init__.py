"""What servers share: names of hosts, access control, and connections with deadlines."""
