"""Prints the first COUNT records of a topic's only partition as JSON lines, then its watermarks."""
import json
import sys

from confluent_kafka import Consumer, TopicPartition

bootstrap, topic, count = sys.argv[1:4]


def text(raw):
    return None if raw is None else raw.decode()


consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "python-reader",
                     "enable.auto.commit": False, "auto.offset.reset": "earliest"})
consumer.assign([TopicPartition(topic, 0, 0)])
for _ in range(int(count)):
    message = consumer.poll(30)
    if message is None or message.error():
        sys.exit(f"no record: {message and message.error()}")
    print(json.dumps({
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or []],
    }))
print(json.dumps(consumer.get_watermark_offsets(TopicPartition(topic, 0))))
consumer.close()
