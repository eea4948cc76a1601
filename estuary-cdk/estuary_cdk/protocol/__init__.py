"""The Flow connector protocol: messages, their JSON spelling, and who may say what next.

No I/O, no asyncio, no clock. The kit plays the connector's side of the sessions and a runtime the
other, so the two can't disagree about what is legal.
"""
