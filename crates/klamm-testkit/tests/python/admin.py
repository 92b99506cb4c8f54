"""Asks the admin client for everything once; any surprise ends the script with an error."""
import sys

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
                                   NewPartitions, NewTopic, OffsetSpec)

admin = AdminClient({"bootstrap.servers": sys.argv[1]})


def results(futures):
    return {key: future.result(30) for key, future in futures.items()}


results(admin.create_topics([NewTopic("made", 2, 1, config={"retention.ms": "1000000"})]))
results(admin.create_partitions([NewPartitions("made", 4)]))
assert len(admin.list_topics(timeout=30).topics["made"].partitions) == 4
resource = ConfigResource(ConfigResource.Type.TOPIC, "made")
assert results(admin.describe_configs([resource]))[resource]["retention.ms"].value == "1000000"
change = ConfigResource(ConfigResource.Type.TOPIC, "made", incremental_configs=[
    ConfigEntry("retention.ms", "2000000", incremental_operation=AlterConfigOpType.SET)])
results(admin.incremental_alter_configs([change]))
assert results(admin.describe_configs([resource]))[resource]["retention.ms"].value == "2000000"
partition = TopicPartition("made", 3)
assert results(admin.list_offsets({partition: OffsetSpec.latest()}))[partition].offset == 0
cluster = admin.describe_cluster().result(30)
assert len(cluster.nodes) == 1 and cluster.controller is not None
assert admin.list_consumer_groups().result(30).errors == []
results(admin.delete_records([TopicPartition("made", 0, 0)]))
results(admin.delete_topics(["made"]))
assert "made" not in admin.list_topics(timeout=30).topics
print("done")
