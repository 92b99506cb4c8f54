"""Copies "in" to "out" exactly once, in transactions; every seventh is aborted and done again."""
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

bootstrap, transactional_id, group = sys.argv[1:4]
base = {
    "bootstrap.servers": bootstrap,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
    # librdkafka 2.16 loses an offset commit in a transaction for good if it begins from the
    # bootstrap list again meanwhile, as it does whenever its only broker is gone.
    "metadata.recovery.strategy": "none",
}
transactions = 0


def rewind(consumer):
    for place in consumer.committed(consumer.assignment(), timeout=60):
        if place.offset < 0:
            place.offset = OFFSET_BEGINNING
        consumer.seek(place)


def patiently(call):
    """Repeats what failed for the moment."""
    while True:
        try:
            return call()
        except KafkaException as error:
            print("again after", error, file=sys.stderr)
            if not error.args[0].retriable():
                raise


def copy(producer, consumer, messages):
    global transactions
    producer.begin_transaction()
    offsets = {}
    for message in messages:
        producer.produce("out", partition=message.partition(), value=message.value())
        offsets[message.partition()] = message.offset() + 1
    places = [TopicPartition("in", partition, offset) for partition, offset in offsets.items()]
    metadata = consumer.consumer_group_metadata()
    patiently(lambda: producer.send_offsets_to_transaction(places, metadata, 10))
    transactions += 1
    if transactions % 7 == 0:
        patiently(lambda: producer.abort_transaction(10))
        rewind(consumer)
        return
    patiently(lambda: producer.commit_transaction(10))
    print("committed", len(messages))


def live():
    producer = Producer({**base, "transactional.id": transactional_id, "transaction.timeout.ms": 3000, "message.timeout.ms": 3000, "linger.ms": 1})
    consumer = Consumer({
        **base,
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 1500,
        "heartbeat.interval.ms": 300,
    })
    try:
        patiently(lambda: producer.init_transactions(10))
        consumer.subscribe(["in"])
        while True:
            messages = [message for message in consumer.consume(20, 0.2) if message.error() is None]
            if not messages:
                continue
            try:
                copy(producer, consumer, messages)
            except KafkaException as error:
                if not error.args[0].txn_requires_abort():
                    raise
                print("aborts after", error, file=sys.stderr)
                patiently(lambda: producer.abort_transaction(10))
                rewind(consumer)
    finally:
        consumer.close()


while True:
    try:
        live()
    except KafkaException as error:
        print("begins again after", error, file=sys.stderr)
