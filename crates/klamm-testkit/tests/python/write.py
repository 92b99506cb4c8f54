"""Writes records given as JSON lines; prints "PARTITION OFFSET TIMESTAMP" for each, in order."""
import json
import sys

from confluent_kafka import Producer

bootstrap, topic, records = sys.argv[1:4]


def raw(text):
    return None if text is None else text.encode()


def delivered(error, message):
    if error is not None:
        sys.exit(f"not delivered: {error}")
    print(message.partition(), message.offset(), message.timestamp()[1])


producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "compression.type": "lz4"})
for record in json.loads(records):
    producer.produce(
        topic,
        key=raw(record["key"]),
        value=raw(record["value"]),
        partition=0,
        timestamp=record["timestamp"],
        headers=[(name, raw(value)) for name, value in record["headers"]],
        on_delivery=delivered,
    )
if producer.flush(30) != 0:
    sys.exit("not all was delivered")
