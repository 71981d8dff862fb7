"""The board: what an operator sees. It knows the engine only as a `Session`, and imports Textual nowhere else.

How it is made. The session's events are folded into a `BoardState` (`state.py`), a plain value store. Every screen is
a pure function from that store, or from an answer of the session, to `Line`s (`lines.py`): runs of text with a role,
never markup. A few widgets (`widgets.py`, `wall.py`) draw lines as strips through Textual's line API. A key becomes an
action of `keymap.py`; whatever changes the world becomes an intent, and its outcome comes back as an event.

Why lines and no Textual widgets per part: a string given to a Textual widget is markup, and may crash the app or
become a button; a line cannot. And drawing a changed row costs a hundredth of repainting a table.
"""
