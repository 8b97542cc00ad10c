"""Stores: adapters of JobStore, RecordStore and LimitStore, one package per database."""
