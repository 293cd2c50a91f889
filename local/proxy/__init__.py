"""Fly Proxy on loopback: hostname → app → port → machine. Process groups are none of its business, as on Fly."""
