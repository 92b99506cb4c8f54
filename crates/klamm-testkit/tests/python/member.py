"""A member of a group: prints what it has, and the values that it reads.
Arguments: servers, group, topic, and "classic" for a member of the classic protocol."""

import sys

from confluent_kafka import Consumer

settings = {
    "bootstrap.servers": sys.argv[1],
    "group.id": sys.argv[2],
    "group.protocol": "consumer",
    "auto.offset.reset": "earliest",
    "auto.commit.interval.ms": 200,
}
if sys.argv[4:] == ["classic"]:
    settings |= {
        "group.protocol": "classic",
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
    }
consumer = Consumer(settings)
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
