"""The asyncio shell around the core: it polls, carries out, remembers and tells; it decides nothing itself."""
