"""A transactional producer that does what its input says, a line each, and tells what came of it."""
import os
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

bootstrap, transactional_id, timeout_ms = sys.argv[1:4]
producer = Producer({
    "bootstrap.servers": bootstrap,
    "transactional.id": transactional_id,
    "transaction.timeout.ms": int(timeout_ms),
    "message.timeout.ms": int(timeout_ms),
    "reconnect.backoff.max.ms": 100,
})


def delivered(failures):
    def on_delivery(error, _message):
        if error is not None:
            failures.append(error)
    return on_delivery


def act(word, *rest):
    if word == "init":
        producer.init_transactions(30)
    elif word == "begin":
        producer.begin_transaction()
    elif word == "send":
        failures = []
        topic, partition, value = rest
        producer.produce(topic, partition=int(partition), value=value, on_delivery=delivered(failures))
        producer.flush(30)
        if failures:
            raise KafkaException(failures[0])
    elif word == "offset":
        group, topic, partition, offset = rest
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        place = TopicPartition(topic, int(partition), int(offset))
        producer.send_offsets_to_transaction([place], consumer.consumer_group_metadata(), 30)
    elif word == "commit":
        producer.commit_transaction(30)
    elif word == "abort":
        producer.abort_transaction(30)
    else:
        sys.exit(f"{word}?")


for line in sys.stdin:
    try:
        act(*line.split())
        print("ok")
    except KafkaException as error:
        print("error", error.args[0].name())
# A transaction stays open as a process that dies leaves it.
sys.stdout.flush()
os._exit(0)
