"""A member of a group of the consumer protocol: prints what it has, and the values that it reads.
Arguments: servers, group, topic."""

import sys

from confluent_kafka import Consumer

consumer = Consumer(
    {
        "bootstrap.servers": sys.argv[1],
        "group.id": sys.argv[2],
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
    }
)
consumer.subscribe([sys.argv[3]])
told = None
while True:
    message = consumer.poll(0.1)
    if message is not None and message.error() is None:
        print(message.value().decode())
    has = sorted(f"{p.topic}-{p.partition}" for p in consumer.assignment())
    if has != told:
        told = has
        print("has", *has)
