"""A member of a group of the consumer protocol that tells, with the machine's clock, when it gets
partitions and before it gives them up; and what it has. Arguments: servers, group, topic."""

import sys
import time

from confluent_kafka import Consumer


def name(partition):
    return f"{partition.topic}-{partition.partition}"


def tell(what, partitions):
    print(what, time.monotonic_ns(), *map(name, partitions))


consumer = Consumer(
    {
        "bootstrap.servers": sys.argv[1],
        "group.id": sys.argv[2],
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
    }
)
consumer.subscribe(
    [sys.argv[3]],
    on_assign=lambda _, partitions: tell("gets", partitions),
    on_revoke=lambda _, partitions: tell("gives", partitions),
)
told = None
while True:
    consumer.poll(0.1)
    tell("lives", [])
    has = sorted(map(name, consumer.assignment()))
    if has != told:
        told = has
        print("has", *has)
