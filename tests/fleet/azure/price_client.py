"""A process that asks a price API. Prints the answers as JSON.

aiohttp reads SSL_CERT_FILE when it is imported, so this cannot run in the process of the tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from azure.core.exceptions import AzureError

from fleet.azure.retail_prices import PriceApi


async def main(questions: list[list[Any]]) -> list[Any]:
    answers: list[Any] = []
    async with PriceApi(os.environ["FLEET_PRICE_API"]) as api:
        for method, *arguments in questions:
            try:
                answers.append(await getattr(api, method)(*arguments))
            except AzureError as error:
                answers.append(type(error).__name__)
    return answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
