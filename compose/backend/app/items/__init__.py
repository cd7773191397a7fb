"""Inventory items: model, storage and routes."""
