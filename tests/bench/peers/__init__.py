"""The same works in other libraries, interleaved with hp's: modules of ../peers.py."""
