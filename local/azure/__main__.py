"""`python -m local.azure --state DIR`: serves until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal

from local.azure.options import Options, parse
from local.azure.simulator import AzureSimulator
from local.process import announce


async def serve(options: Options) -> None:
    """Run the simulator until a signal arrives."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AzureSimulator(options) as simulator:
        announce(options.state / "ready.json", simulator.ready())
        await stopped.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(serve(parse()))
