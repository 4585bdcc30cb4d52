"""aria2's RPC over a mount: what its clients show, add, pause and remove are the files that the mount shows."""
