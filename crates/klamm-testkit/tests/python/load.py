"""Writes counted values to three partitions until its input ends; prints what was acknowledged.

Each line is "PARTITION OFFSET VALUE"; the last is "done COUNT". Any record that is given up ends
the script with an error, because nothing may be given up: the producer is idempotent and patient.
"""
import sys
import threading

from confluent_kafka import Producer

bootstrap, topic = sys.argv[1:3]
PARTITIONS = 3
stop = threading.Event()


def wait_for_end():
    sys.stdin.read()
    stop.set()


def delivered(error, message):
    if error is not None:
        print(f"given up: {error}", flush=True)
        sys.exit(1)
    print(message.partition(), message.offset(), message.value().decode())


producer = Producer({
    "bootstrap.servers": bootstrap,
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 2,
    "queue.buffering.max.messages": 2000,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 100,
    "retry.backoff.ms": 20,
    "socket.timeout.ms": 10000,
    "message.timeout.ms": 120000,
})
threading.Thread(target=wait_for_end, daemon=True).start()
count = 0
while not stop.is_set():
    try:
        producer.produce(topic, partition=count % PARTITIONS, value=str(count),
                         on_delivery=delivered)
        count += 1
        producer.poll(0)
    except BufferError:
        producer.poll(0.01)
    sys.stdout.flush()
left = producer.flush(60)
print("done", count, "left", left, flush=True)
