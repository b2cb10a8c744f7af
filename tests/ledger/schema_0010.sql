BEGIN TRANSACTION;
CREATE TABLE alembic_version (version_num VARCHAR(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);
INSERT INTO "alembic_version" VALUES('0010');
CREATE TABLE calibration (
	id TEXT NOT NULL, 
	frozen_at DOUBLE NOT NULL, 
	promoted_at DOUBLE, 
	history_labels BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_calibration PRIMARY KEY (id)
);
CREATE TABLE counter (
	name TEXT NOT NULL, 
	service TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	tier TEXT NOT NULL, 
	capability TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_counter PRIMARY KEY (name, service, environment, model_version, tier, capability, detail)
);
INSERT INTO "counter" VALUES('duration_bucket','booking-agent','production','gpt-4-0613','untiered','','120.0',2);
INSERT INTO "counter" VALUES('duration_bucket','booking-agent','production','gpt-4-0613','untiered','','30.0',2);
INSERT INTO "counter" VALUES('duration_bucket','booking-agent','production','gpt-4-0613','untiered','','5.0',1);
INSERT INTO "counter" VALUES('duration_bucket','booking-agent','production','gpt-4-0613','untiered','','60.0',1);
INSERT INTO "counter" VALUES('duration_microseconds','booking-agent','production','gpt-4-0613','untiered','','',3049951);
INSERT INTO "counter" VALUES('duration_microseconds','booking-agent','production','gpt-4-0613','untiered','','whole',247);
INSERT INTO "counter" VALUES('failures_by_class','booking-agent','production','gpt-4-0613','untiered','','unknown',2);
INSERT INTO "counter" VALUES('outcomes','booking-agent','production','gpt-4-0613','untiered','refund','failure',2);
INSERT INTO "counter" VALUES('outcomes','booking-agent','production','gpt-4-0613','untiered','refund','success',3);
INSERT INTO "counter" VALUES('records','','','','','','/tmp/old.jsonl/0',6);
INSERT INTO "counter" VALUES('requests','booking-agent','production','gpt-4-0613','untiered','refund','',6);
INSERT INTO "counter" VALUES('steps','booking-agent','production','gpt-4-0613','untiered','','',100);
INSERT INTO "counter" VALUES('steps_bucket','booking-agent','production','gpt-4-0613','untiered','','20.0',3);
INSERT INTO "counter" VALUES('steps_bucket','booking-agent','production','gpt-4-0613','untiered','','50.0',2);
INSERT INTO "counter" VALUES('tool_calls','booking-agent','production','gpt-4-0613','untiered','','',96);
CREATE TABLE dead_letter (
	topic TEXT NOT NULL, 
	partition INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	received_at DOUBLE NOT NULL, 
	CONSTRAINT pk_dead_letter PRIMARY KEY (topic, partition, "offset")
);
CREATE TABLE evidence (
	rollout_id TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_evidence PRIMARY KEY (rollout_id, at), 
	CONSTRAINT fk_evidence_rollout_id FOREIGN KEY(rollout_id) REFERENCES rollout (id)
);
CREATE TABLE floor_set (
	number INTEGER NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	floors TEXT NOT NULL, 
	CONSTRAINT pk_floor_set PRIMARY KEY (number)
);
INSERT INTO "floor_set" VALUES(0,1795132900.0,'[]');
CREATE TABLE kafka_offset (
	topic TEXT NOT NULL, 
	partition INTEGER NOT NULL, 
	next_offset BIGINT NOT NULL, 
	CONSTRAINT pk_kafka_offset PRIMARY KEY (topic, partition)
);
INSERT INTO "kafka_offset" VALUES('/tmp/old.jsonl',0,6);
CREATE TABLE label_value (
	label TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_label_value PRIMARY KEY (label, scope, value)
);
INSERT INTO "label_value" VALUES('','','');
INSERT INTO "label_value" VALUES('model_version','booking-agent production','gpt-4-0613');
INSERT INTO "label_value" VALUES('version_capability','booking-agent production gpt-4-0613','refund');
INSERT INTO "label_value" VALUES('version_failure_class','booking-agent production gpt-4-0613','unknown');
CREATE TABLE model_version (
	id INTEGER NOT NULL, 
	service TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	first_started_at DOUBLE NOT NULL, 
	last_started_at DOUBLE NOT NULL, 
	requests BIGINT NOT NULL, 
	labelled BIGINT NOT NULL, 
	pruned_before DOUBLE, 
	CONSTRAINT pk_model_version PRIMARY KEY (id), 
	CONSTRAINT uq_model_version UNIQUE (service, environment, model_version)
);
INSERT INTO "model_version" VALUES(1,'booking-agent','production','gpt-4-0613',1795132800.0,1795132900.0,6,5,NULL);
CREATE TABLE pending_span (
	trace_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	span_ids TEXT NOT NULL, 
	body BLOB NOT NULL, 
	CONSTRAINT pk_pending_span PRIMARY KEY (trace_id, number)
);
CREATE TABLE pruned (
	model_version_id INTEGER NOT NULL, 
	tier TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	successes BIGINT NOT NULL, 
	failures BIGINT NOT NULL, 
	CONSTRAINT pk_pruned PRIMARY KEY (model_version_id, tier)
);
CREATE TABLE request (
	trace_id TEXT NOT NULL, 
	model_version_id INTEGER, 
	started_at DOUBLE, 
	received_at DOUBLE NOT NULL, 
	capability TEXT, 
	item TEXT, 
	tool_set TEXT, 
	prompt_family TEXT, 
	attributes TEXT, 
	counted_tier TEXT, 
	tier TEXT, 
	difficulty_logit DOUBLE, 
	difficulty_variance DOUBLE, 
	is_known BOOLEAN, 
	bin INTEGER, 
	calibration_id TEXT, 
	declared_tier TEXT, 
	cluster BIGINT, 
	success BOOLEAN, 
	failure_class TEXT, 
	outcome_source TEXT, 
	outcome_score DOUBLE, 
	labelled_at DOUBLE, 
	outcomes TEXT, 
	said TEXT, 
	looked DOUBLE, 
	audited DOUBLE, 
	CONSTRAINT pk_request PRIMARY KEY (trace_id), 
	CONSTRAINT fk_request_model_version_id FOREIGN KEY(model_version_id) REFERENCES model_version (id)
);
INSERT INTO "request" VALUES('00000000000000000000000000000001',1,1795132800.0,1795132900.0,'refund',NULL,NULL,'5e660ea074099e93',NULL,'untiered','untiered',0.0,0.0,0,0,'',NULL,NULL,1,NULL,'judge',NULL,1795132800.0,NULL,'--p-',1.0,NULL);
INSERT INTO "request" VALUES('00000000000000000000000000000002',1,1795132820.0,1795132900.0,'refund',NULL,NULL,'4d0ed063f2a23c7b',NULL,'untiered','untiered',0.0,0.0,0,0,'',NULL,NULL,1,NULL,'judge',NULL,1795132820.0,NULL,'--p-',1.0,NULL);
INSERT INTO "request" VALUES('00000000000000000000000000000003',1,1795132840.0,1795132900.0,'refund',NULL,NULL,'92b57c6a0764974c',NULL,'untiered','untiered',0.0,0.0,0,0,'',NULL,NULL,0,NULL,'judge',NULL,1795132840.0,NULL,'--f-',1.0,NULL);
INSERT INTO "request" VALUES('00000000000000000000000000000004',1,1795132860.0,1795132900.0,'refund',NULL,NULL,'efddf3e55c5263c8',NULL,'untiered','untiered',0.0,0.0,0,0,'',NULL,NULL,1,NULL,'judge',NULL,1795132860.0,NULL,'--p-',1.0,NULL);
INSERT INTO "request" VALUES('00000000000000000000000000000005',1,1795132880.0,1795132900.0,'refund',NULL,NULL,'16747c857da9e7c0',NULL,'untiered','untiered',0.0,0.0,0,0,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "request" VALUES('00000000000000000000000000000006',1,1795132900.0,1795132900.0,'refund',NULL,NULL,'aacf9dcbcb54c7db',NULL,'untiered','untiered',0.0,0.0,0,0,'',NULL,NULL,0,NULL,'judge',NULL,1795132900.0,NULL,'--f-',1.0,NULL);
CREATE TABLE rollout (
	id TEXT NOT NULL, 
	service TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	baseline TEXT NOT NULL, 
	candidate TEXT NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	end_reason TEXT DEFAULT '' NOT NULL, 
	calibration_id TEXT NOT NULL, 
	verdict TEXT, 
	verdict_at DOUBLE, 
	CONSTRAINT pk_rollout PRIMARY KEY (id)
);
CREATE TABLE served_model (
	service TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	requested_model TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	first_started_at DOUBLE NOT NULL, 
	last_started_at DOUBLE NOT NULL, 
	CONSTRAINT pk_served_model PRIMARY KEY (service, environment, requested_model, model_version)
);
CREATE TABLE stratum (
	model_version_id INTEGER NOT NULL, 
	hour INTEGER NOT NULL, 
	calibration_id TEXT NOT NULL, 
	tier TEXT NOT NULL, 
	declared_tier TEXT NOT NULL, 
	capability TEXT NOT NULL, 
	tool_set TEXT NOT NULL, 
	bin INTEGER NOT NULL, 
	is_known BOOLEAN NOT NULL, 
	failure_class TEXT NOT NULL, 
	said TEXT NOT NULL, 
	requests BIGINT NOT NULL, 
	labelled BIGINT NOT NULL, 
	failures BIGINT NOT NULL, 
	logit_sum DOUBLE NOT NULL, 
	variance_sum DOUBLE NOT NULL, 
	clustered BIGINT NOT NULL, 
	clustered_failures BIGINT NOT NULL, 
	looked_sum DOUBLE NOT NULL, 
	looked_squares_sum DOUBLE NOT NULL, 
	audited_sum DOUBLE NOT NULL, 
	audited_squares_sum DOUBLE NOT NULL, 
	CONSTRAINT pk_stratum PRIMARY KEY (model_version_id, hour, calibration_id, tier, declared_tier, capability, tool_set, bin, is_known, failure_class, said)
);
INSERT INTO "stratum" VALUES(1,498648,'','untiered','','refund','',0,0,'','',1,0,0,0.0,0.0,0,0,0.0,0.0,0.0,0.0);
INSERT INTO "stratum" VALUES(1,498648,'','untiered','','refund','',0,0,'','--f-',2,2,2,0.0,0.0,0,0,2.0,2.0,0.0,0.0);
INSERT INTO "stratum" VALUES(1,498648,'','untiered','','refund','',0,0,'','--p-',3,3,0,0.0,0.0,0,0,3.0,3.0,0.0,0.0);
CREATE TABLE traffic (
	model_version_id INTEGER NOT NULL, 
	hour INTEGER NOT NULL, 
	requests BIGINT NOT NULL, 
	first_started_at DOUBLE NOT NULL, 
	last_started_at DOUBLE NOT NULL, 
	CONSTRAINT pk_traffic PRIMARY KEY (model_version_id, hour)
);
INSERT INTO "traffic" VALUES(1,498648,6,1795132800.0,1795132900.0);
CREATE TABLE verdict_change (
	rollout_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	state TEXT NOT NULL, 
	CONSTRAINT pk_verdict_change PRIMARY KEY (rollout_id, number), 
	CONSTRAINT fk_verdict_change_rollout_id FOREIGN KEY(rollout_id) REFERENCES rollout (id)
);
CREATE TABLE waiting_trace (
	trace_id TEXT NOT NULL, 
	first_received_at DOUBLE NOT NULL, 
	last_received_at DOUBLE NOT NULL, 
	root_ended BOOLEAN NOT NULL, 
	span_count INTEGER NOT NULL, 
	counted_spans INTEGER DEFAULT '0' NOT NULL, 
	not_before DOUBLE DEFAULT '0' NOT NULL, 
	counted_heads TEXT DEFAULT '' NOT NULL, 
	service TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_waiting_trace PRIMARY KEY (trace_id)
);
CREATE INDEX ix_waiting_trace_pending ON waiting_trace (last_received_at) WHERE span_count > counted_spans;
CREATE INDEX ix_waiting_trace_counted ON waiting_trace (last_received_at) WHERE span_count = counted_spans;
CREATE INDEX ix_dead_letter_received_at ON dead_letter (received_at);
CREATE INDEX ix_request_model_version_id_started_at ON request (model_version_id, started_at);
CREATE INDEX ix_request_model_version_id_cluster ON request (model_version_id, cluster) WHERE cluster IS NOT NULL;
COMMIT;
