"""fill BOOTSTRAP TAG [transactions]: writes; dump BOOTSTRAP: prints every record as a JSON line."""
import json
import os
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

command, bootstrap = sys.argv[1:3]
base = {"bootstrap.servers": bootstrap}
CODECS = ["gzip", "snappy", "lz4", "zstd"]
GROUP = "readers"


def make_topics():
    topics = [
        NewTopic("plain", 3, 1, config={"segment.bytes": "1048576"}),
        NewTopic(
            "compacted",
            2,
            1,
            config={
                "cleanup.policy": "compact",
                "segment.bytes": "1048576",
                "min.cleanable.dirty.ratio": "0.01",
            },
        ),
        NewTopic("transactional", 2, 1),
        *[NewTopic("codec-" + codec, 1, 1) for codec in CODECS],
    ]
    admin = AdminClient(base)
    existing = admin.list_topics(timeout=30).topics
    new = [topic for topic in topics if topic.topic not in existing]
    if new:
        for made in admin.create_topics(new).values():
            made.result()


def send(producer, topic, records):
    for record in records:
        while True:
            try:
                producer.produce(topic, **record)
                break
            except BufferError:
                producer.poll(1)
        producer.poll(0)
    if producer.flush(60) != 0:
        sys.exit(f"{topic}: not all was delivered")


def fill(tag, with_transactions):
    make_topics()
    producer = Producer({**base, "enable.idempotence": True})
    value = f"{tag}-" + "v" * 500
    headers = [("from", tag.encode()), ("void", None)]
    plain = ({"value": f"{value}{i}", "key": f"{i}", "headers": headers, "partition": i % 3} for i in range(9000))
    send(producer, "plain", plain)
    compacted = ({"value": f"{value}{i}", "key": f"key{i % 50}"} for i in range(6000))
    send(producer, "compacted", compacted)
    for codec in CODECS:
        send(Producer({**base, "compression.type": codec}), "codec-" + codec, ({"value": f"{value}{i}"} for i in range(500)))
    if with_transactions:
        transact(tag)
    commit(1000)


def transact(tag):
    producer = Producer({**base, "transactional.id": "ended-" + tag})
    producer.init_transactions(60)
    for n in range(6):
        producer.begin_transaction()
        send(producer, "transactional", ({"value": f"{tag}-{n}-{i}", "partition": i % 2} for i in range(20)))
        if n % 3 == 1:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)
    producer = Producer({**base, "transactional.id": "open-" + tag, "transaction.timeout.ms": 800000})
    producer.init_transactions(60)
    producer.begin_transaction()
    send(producer, "transactional", ({"value": f"{tag}-open-{i}", "partition": i % 2} for i in range(10)))


def commit(count):
    """The group reads on from where it was."""
    consumer = Consumer({**base, "group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["plain"])
    read = 0
    while read < count:
        read += len(consumer.consume(count - read, 60))
    consumer.commit(asynchronous=False)
    consumer.close()


def text(raw):
    return None if raw is None else raw.decode()


def dump():
    for isolation in ["read_committed", "read_uncommitted"]:
        consumer = Consumer({**base, "group.id": "dump", "isolation.level": isolation, "enable.partition.eof": True})
        topics = consumer.list_topics(timeout=30).topics
        names = sorted(name for name in topics if not name.startswith("__"))
        partitions = [(name, partition) for name in names for partition in sorted(topics[name].partitions)]
        dump_partitions(consumer, isolation, partitions)
        consumer.close()
    consumer = Consumer({**base, "group.id": GROUP})
    committed = consumer.committed([TopicPartition("plain", p) for p in range(3)], timeout=60)
    print(json.dumps({"committed": [p.offset for p in committed]}))


def dump_partitions(consumer, isolation, partitions):
    starts = []
    for topic, partition in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        of = {"isolation": isolation, "topic": topic, "partition": partition}
        print(json.dumps({**of, "low": low, "high": high}))
        starts.append(TopicPartition(topic, partition, low))
    consumer.assign(starts)
    open_ends = set(partitions)
    while open_ends:
        message = consumer.poll(60)
        if message is None:
            sys.exit(f"{open_ends} have no end")
        place = (message.topic(), message.partition())
        if message.error():
            open_ends.discard(place)
            continue
        of = {"isolation": isolation, "topic": place[0], "partition": place[1]}
        headers = [[name, text(value)] for name, value in message.headers() or []]
        record = {"offset": message.offset(), "time": message.timestamp(), "key": text(message.key())}
        print(json.dumps({**of, **record, "value": text(message.value()), "headers": headers}))


if command == "fill":
    fill(sys.argv[3], "transactions" in sys.argv[4:])
else:
    dump()
sys.stdout.flush()
# A transaction stays open as a process that dies leaves it.
os._exit(0)
