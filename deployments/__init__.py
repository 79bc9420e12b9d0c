"""The shell around the pure core: HTTP, Ray Serve, engines and stores. Thin, and the only place where I/O happens."""
