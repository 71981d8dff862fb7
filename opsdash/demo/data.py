"""Data that others deliver, and the applications that live on it: prices, market quotes, reports.

A careful consumer refuses data it does not understand, and says so by falling silent: its front door then
shows an old time. What it may serve instead was decided in advance, as a mode or as another source.
"""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from opsdash.demo.catalog import Fault
from opsdash.demo.server import Port, Service
from opsdash.demo.web import Request, Response, Unusable, fetch, fetch_json, json_response
from opsdash.demo.world import Pointer, every, read_json, stamp, utc_now, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CACHED_PRICES = "cached-prices"
SIMPLE_REPORT = "simple-report"
_PRICE_RHYTHM = 0.4
_QUOTE_RHYTHM = 0.3
_REPORT_RHYTHM = 0.5
_FRESH_ENOUGH = timedelta(minutes=1)

_PRICES = {"tea-100": 4.9, "tea-250": 10.9, "cup-blue": 12.5, "cup-red": 12.5, "pot-1l": 34.0}
_SYMBOLS = tuple(f"TEA{number:02d}" for number in range(1, 21))
_FEED_SHOWS = frozenset({Fault.EMPTY, Fault.GARBAGE})


# --- prices ---


class PricingApi(Service):
    """The supplier's price list, in a shape that was agreed upon."""

    def __init__(self) -> None:
        super().__init__("pricing-api")
        self.http: Port = self.listen_http("PRICING_API_HTTP", {("GET", "/v1/prices"): self._prices})

    def _prices(self, _request: Request) -> Response:
        rows = [{"sku": sku, "amount": amount} for sku, amount in _PRICES.items()]
        return json_response({"currency": "EUR", "updated_at": stamp(), "prices": rows})


class PricingCache(Service):
    """Quotes prices in the shop. Keeps the last good list; uses it only in the mode `cached-prices`."""

    def __init__(self, state: Path, pricing: PricingApi) -> None:
        super().__init__("pricing-cache")
        self._pricing = pricing.http
        self._list_file = state / "price-list.json"
        self._mode = Pointer(state / "pricing-mode.json", "mode", default="live-prices")
        self._last: dict[str, Any] = {"at": None, "served_by": None, "prices_from": None, "items": 0}
        self._error: str | None = None
        self.listen_http("PRICING_CACHE_HTTP", {("GET", "/last-quote"): self._last_quote})

    async def run(self) -> None:
        await every(_PRICE_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        if self._mode_in_force() == CACHED_PRICES:
            self._quote("cache", read_json(self._list_file))
            return
        try:
            prices = await fetch_json(self._pricing.number, "/v1/prices")
        except Unusable as problem:
            self._error = str(problem)
            return
        if self._quote("live", prices):
            write_json(self._list_file, prices)

    def _quote(self, served_by: str, prices: object) -> bool:
        """Quote from the list if it has the agreed shape: no price is better than a wrong one."""
        match prices:
            case {"currency": "EUR", "updated_at": str(updated_at), "prices": [_, *_] as rows} if all(
                _is_price(row) for row in rows
            ):
                self._error = None
                self._last = {
                    "at": stamp(),
                    "served_by": served_by,
                    "prices_from": updated_at,
                    "items": len(rows),
                }
                return True
            case _:
                self._error = f"the price list ({served_by}) is not in the agreed shape"
                return False

    def _mode_in_force(self) -> str:
        return CACHED_PRICES if self._mode.read() == CACHED_PRICES else "live-prices"

    def _last_quote(self, _request: Request) -> Response:
        return json_response({**self._last, "mode": self._mode_in_force(), "error": self._error})


def _is_price(row: object) -> bool:
    match row:
        case {"sku": str(), "amount": float() | int() as amount}:
            return math.isfinite(amount) and amount > 0
        case _:
            return False


# --- market data ---


class Feed(Service):
    """A source of market data. Both deliver the same rows, one as JSON and one as CSV."""

    def __init__(self, name: str, encode: Callable[[list[dict[str, Any]]], Response]) -> None:
        super().__init__(name)
        self._encode = encode
        self._reads = 0
        variable = name.upper().replace("-", "_")
        routes = {("GET", "/status"): self._status, ("GET", "/rows"): self._rows}
        self.http: Port = self.listen_http(f"{variable}_HTTP", routes, shows=_FEED_SHOWS)

    def _status(self, _request: Request) -> Response:
        return json_response({"healthy": True, "feed": self.name})

    def _rows(self, _request: Request) -> Response:
        self._reads += 1
        match self.fault:
            case Fault.EMPTY:
                return self._encode([])
            case Fault.GARBAGE:
                return self._encode([_garbage_row(number) for number in range(len(_SYMBOLS))])
            case _:
                return self._encode([self._row(number) for number in range(len(_SYMBOLS))])

    def _row(self, number: int) -> dict[str, Any]:
        price = 20 + number + math.sin(self._reads / 7 + number)
        return {"symbol": _SYMBOLS[number], "price": round(price, 4), "volume": 100 + number, "at": stamp()}


def _garbage_row(number: int) -> dict[str, Any]:
    symbol = "N/A" if number % 3 else None
    return {"symbol": symbol, "price": None if number % 2 else -9999.0, "volume": 0, "at": stamp()}


def as_json(rows: list[dict[str, Any]]) -> Response:
    return json_response({"rows": rows})


def as_csv(rows: list[dict[str, Any]]) -> Response:
    text = io.StringIO()
    writer = csv.DictWriter(text, ("symbol", "price", "volume", "at"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return Response(content_type="text/csv", body=text.getvalue().encode())


class MarketReader(Service):
    """Serves quotes to the shop, from the feed that a pointer file names."""

    def __init__(self, state: Path, feeds: tuple[Feed, ...]) -> None:
        super().__init__("market-reader")
        self._feeds = {feed.name: feed.http for feed in feeds}
        self._source = Pointer(state / "market-source.json", "source", default=feeds[0].name)
        self._reading_from = self._source.read()
        self._last: dict[str, Any] = {"at": None, "source": None, "data_at": None, "usable": 0, "quotes": []}
        self._error: str | None = None
        self.http: Port = self.listen_http("MARKET_READER_HTTP", {("GET", "/quotes"): self._quotes})

    async def run(self) -> None:
        await every(_QUOTE_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        if self.fault is not Fault.DEAF:
            self._reading_from = self._source.read()
        source = self._reading_from
        port = self._feeds.get(source)
        if port is None:
            self._error = "the pointer names no feed that exists"
            return
        try:
            rows = _usable_rows(await fetch(port.number, "/rows"))
        except Unusable as problem:
            self._error = str(problem)
            return
        self._error = None
        self._last = {
            "at": stamp(),
            "source": source,
            "data_at": max(row["at"] for row in rows),
            "usable": len(rows),
            "quotes": [{"symbol": row["symbol"], "price": row["price"]} for row in rows[:5]],
        }

    def _quotes(self, _request: Request) -> Response:
        return json_response({**self._last, "error": self._error})


def _usable_rows(response: Response) -> list[dict[str, Any]]:
    """The rows that make sense; the shop must never see the others."""
    if response.status != 200:
        raise Unusable(f"status {response.status}")
    csv_expected = (response.header("content-type") or "").startswith("text/csv")
    parsed = _csv_rows(response.body) if csv_expected else _json_rows(response.body)
    usable_rows = [usable for row in parsed if (usable := _usable(row)) is not None]
    if not usable_rows:
        raise Unusable(f"not one of {len(parsed)} rows is usable")
    return usable_rows


def _json_rows(body: bytes) -> list[Any]:
    try:
        match json.loads(body):
            case {"rows": list(rows)}:
                return rows
    except ValueError:
        pass
    raise Unusable("the answer holds no rows")


def _csv_rows(body: bytes) -> list[Any]:
    return list(csv.DictReader(io.StringIO(body.decode("utf-8", "replace"))))


def _usable(row: object) -> dict[str, Any] | None:
    match row:
        case {"symbol": str(symbol), "price": str() | float() | int() as price, "at": str(at)}:
            number = _number(price)
            if symbol in _SYMBOLS and number is not None and number > 0:
                return {"symbol": symbol, "price": number, "at": at}
    return None


def _number(value: str | float) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# --- reports ---


class Warehouse(Service):
    """The store of numbers that a full report is made from."""

    def __init__(self) -> None:
        super().__init__("warehouse")
        self._reads = 0
        routes = {("GET", "/health"): self._health, ("GET", "/rollup"): self._rollup}
        self.http: Port = self.listen_http("WAREHOUSE_HTTP", routes)

    def _health(self, _request: Request) -> Response:
        return json_response({"healthy": True})

    def _rollup(self, _request: Request) -> Response:
        self._reads += 1
        return json_response({"orders": 1200 + self._reads, "revenue": 35000.0, "as_of": stamp()})


class Reporting(Service):
    """Makes reports. A full one needs warehouse and quotes; a simple one takes what can still be reached."""

    def __init__(self, state: Path, warehouse: Warehouse, neighbours: Mapping[str, tuple[Port, str]]) -> None:
        """`neighbours` are the sections of a simple report: where each one's numbers are asked for."""
        super().__init__("reporting")
        self._warehouse = warehouse.http
        self._neighbours = neighbours
        self._file = state / "last-report.json"
        self._mode = Pointer(state / "reporting-mode.json", "mode", default="full-report")
        self._last: dict[str, Any] = {"at": None, "kind": None, "sections": [], "missing": []}
        self._error: str | None = None
        self.listen_http("REPORTING_HTTP", {("GET", "/last-report"): self._last_report})

    async def run(self) -> None:
        await every(_REPORT_RHYTHM, self._round)

    async def _round(self) -> None:
        if self.stopped:
            return
        try:
            if self._mode_in_force() == SIMPLE_REPORT:
                await self._simple_report()
            else:
                await self._full_report()
        except Unusable as problem:
            self._error = str(problem)

    async def _full_report(self) -> None:
        rollup = await fetch_json(self._warehouse.number, "/rollup")
        if not _is_fresh(rollup, "as_of"):
            raise Unusable("the warehouse has no fresh numbers")
        port, path = self._neighbours["market"]
        quotes = await fetch_json(port.number, path)
        if not _is_fresh(quotes, "data_at"):
            raise Unusable("there are no fresh quotes")
        self._publish("full", sections=["orders", "revenue", "market"], missing=[])

    async def _simple_report(self) -> None:
        reached: list[str] = []
        missing: list[str] = []
        for section, (port, path) in self._neighbours.items():
            try:
                content = await fetch_json(port.number, path)
            except Unusable:
                missing.append(section)
            else:
                (reached if _is_fresh(content, "at") else missing).append(section)
        if not reached:
            raise Unusable("no source of a simple report can be reached")
        self._publish("simple", sections=reached, missing=[*missing, "revenue"])

    def _publish(self, kind: str, *, sections: list[str], missing: list[str]) -> None:
        self._error = None
        self._last = {"at": stamp(), "kind": kind, "sections": sections, "missing": missing}
        write_json(self._file, self._last)

    def _mode_in_force(self) -> str:
        return SIMPLE_REPORT if self._mode.read() == SIMPLE_REPORT else "full-report"

    def _last_report(self, _request: Request) -> Response:
        return json_response({**self._last, "mode": self._mode_in_force(), "error": self._error})


def _is_fresh(content: object, key: str) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get(key), str):
        return False
    try:
        moment = datetime.fromisoformat(content[key])
    except ValueError:
        return False
    return moment.tzinfo is not None and utc_now() - moment < _FRESH_ENOUGH
