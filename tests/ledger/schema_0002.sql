-- A ledger as schema 0002 kept it; never changed, only upgraded by a test.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE calibration (
	id TEXT NOT NULL, 
	frozen_at DOUBLE NOT NULL, 
	promoted_at DOUBLE, 
	history_labels BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_calibration PRIMARY KEY (id)
);
INSERT INTO "calibration" VALUES('5d5ac6b9ce9e8f91',1790000000.0,NULL,4,'{"schema":"cliffwatch.calibration/v1","checksum":"5d5ac6b9ce9e8f9193d51942c48ca32f5557cbf94557367d7cd832e5c830f525","content":{"bin_edges":[-6.561292122967649,-5.66129212296765,-4.7612921229676495,-3.861292122967649,-2.961292122967649,-2.421987312287019,-1.8826825016063893,-1.3433776909257593,-0.8040728802451291,-0.26905633937106144,0.26596020150300625,0.800976742377074,1.3359932832511414,2.2359932832511413,3.1359932832511417,4.035993283251141,4.9359932832511415],"cuts":{"frontier":1.3359932832511414,"hard":-0.8040728802451291,"medium":-2.961292122967649},"difficulty":{"bias":-1.7107349921432313,"items":{},"names":["capability=search","item=i0","item=i1","item=i10","item=i11","item=i12","item=i13","item=i14","item=i15","item=i16","item=i17","item=i18","item=i19","item=i2","item=i20","item=i21","item=i22","item=i23","item=i24","item=i25","item=i26","item=i27","item=i28","item=i29","item=i3","item=i30","item=i31","item=i32","item=i33","item=i34","item=i35","item=i36","item=i37","item=i38","item=i39","item=i4","item=i40","item=i41","item=i42","item=i43","item=i44","item=i45","item=i46","item=i47","item=i48","item=i49","item=i5","item=i50","item=i51","item=i52","item=i53","item=i54","item=i55","item=i56","item=i57","item=i58","item=i59","item=i6","item=i7","item=i8","item=i9"],"scales":{},"tiered_capabilities":["search"],"unmet":{"attribute":[0.0,0.8154797656686846],"capability":[0.0,2.7182658855622823],"item":[-0.311429668886835,44.92729090874486],"number":[0.0,0.08154797656686846],"prompt":[0.0,0.27182658855622827],"tools":[0.0,0.27182658855622827],"version":[0.0,5.436531771124565],"version|capability":[0.0,1.3591329427811412]},"weights":{"failed_by_all":[false,true,false,false,false,true,false,false,true,false,false,true,false,false,false,true,false,false,true,false,false,true,false,false,true,true,false,false,true,false,false,true,false,false,true,false,false,false,true,false,false,true,false,false,true,false,false,false,true,false,false,true,false,false,true,false,false,true,false,false,true],"mean":[-0.8212543373541401,6.76289371831182,-5.857071026450694,-4.788338510318566,-4.4686427777992455,7.742997920748324,-4.653451238999413,-4.377951743301344,7.825834365997533,-4.55485741621266,-4.310706876165462,7.885031346103021,-4.479822907103688,-5.138211828409698,-4.259303516897,7.928093683631238,-4.421016113897922,-4.219122129924793,7.959780526946656,-4.373872048589166,-4.18715721701115,7.983241945326967,-4.3353826685018975,-4.161359722059552,7.172599859904275,8.000635467926829,-4.3034798790714905,-4.140284179624409,8.013480180431735,-4.276694006811621,-4.122883672442183,8.022870172324406,-4.253952434854376,-4.1083836022390905,8.029608483676023,-5.296027722051687,-4.234454857730975,-4.096200544808898,8.034294032908193,-4.217592878341989,-4.0858882994770225,8.037379651287482,-4.202896474817358,-4.077101029974655,8.039211776133387,-4.189997375545005,-4.7923664466220215,-4.069567505417768,8.0400581723876,-4.178603414502807,-4.06307274739901,8.040127649498196,-4.1684802108958,-4.057444732181408,8.039584312093433,-4.159437848689222,-4.0525446115288695,7.446981425126992,-4.984195038997982,-4.596710790631346,7.624043222325029],"variance":[0.3647723646107952,10.435459613380813,14.01930132118762,12.333368720231155,12.441616674015172,10.729348156802809,12.280739665735664,12.42591941543586,10.604091056840765,12.261428578616343,12.42223980786713,10.473575491585848,12.25479952196155,13.180089813618737,12.421371692896608,10.347352498795958,12.2523508814244,12.419800005503726,10.229373685860887,12.250506532113462,12.416321808313143,10.120932945123574,12.24782690421755,12.410703101980731,10.725159336914722,10.022074353277908,12.243830131065042,12.403105097819463,9.932278119174159,12.238462924054705,12.393830017284792,9.850798752700932,12.231854176808303,12.383208086398705,9.776831486876478,12.858907042388521,12.22419846328843,12.371549314459653,9.709592169228053,12.215701480722636,12.359125475172016,9.648353028043937,12.206555700721271,12.346166052461164,9.592455915928959,12.196930856440769,12.654422994485701,12.332860361401659,9.541314233568832,12.186971629588726,12.319362085128041,9.494409407776587,12.176798687916843,12.305794437695285,9.451285011090055,12.166511126834386,12.292255137288112,10.854499111107753,12.473163102432775,12.493787880196889,10.827993524441368],"versions":[3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3,3]}},"frontier_min_versions":3,"frozen_at":1790000000.0,"min_tag_probability":0.6,"reference_version":"old-0","trust":{"auc":0.6991666666666667,"auc_lower":0.31361866666666677,"calibration_error":0.16322959102932835,"hard_rate_reasons":["3 more reference versions needed for the hard tier''s failure rate.","30 more probes needed: 33% of the requests are known."],"is_trusted":false,"known_share":0.3333333333333333,"reasons":["Difficulty tells failures from successes with an AUC of 0.70 (0.72 needed): replay more of the traffic as probes on past or other models.","Predicted failure rates are off by 0.163 on average, over 0.10: add reference versions that are more alike to the ones in use."],"reliability":[[0.07280309704350144,0.0,18],[0.08056246355727772,0.0,18],[0.12831336533256066,0.0,18],[0.14954130710929586,0.0,18],[0.23985320147665135,0.5555555555555556,18],[0.3146308211215308,0.3888888888888889,18],[0.3293860395199777,0.05555555555555555,18],[0.44443057147291715,0.3333333333333333,18],[0.7214632891018548,1.0,18],[0.852349177597766,1.0,18]],"versions":3}}}');
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
INSERT INTO "counter" VALUES('cost_nanodollars','shop','production','model-1','hard','','',4100000);
INSERT INTO "counter" VALUES('dead_letters','','','','','','not_json',1);
INSERT INTO "counter" VALUES('duration_bucket','shop','production','model-1','hard','','2.5',1);
INSERT INTO "counter" VALUES('duration_microseconds','shop','production','model-1','hard','','',2500000);
INSERT INTO "counter" VALUES('failures_by_class','shop','production','model-1','hard','','wrong_tool',2);
INSERT INTO "counter" VALUES('outcomes','shop','production','model-1','hard','search','failure',1);
INSERT INTO "counter" VALUES('outcomes','shop','production','model-1','hard','search','success',1);
INSERT INTO "counter" VALUES('outcomes','shop','production','model-2','easy','search','success',1);
INSERT INTO "counter" VALUES('records','','','','','','agent-traces/0',8);
INSERT INTO "counter" VALUES('requests','shop','production','model-1','easy','search','',1);
INSERT INTO "counter" VALUES('requests','shop','production','model-1','hard','search','',2);
INSERT INTO "counter" VALUES('requests','shop','production','model-2','easy','search','',1);
INSERT INTO "counter" VALUES('spans','','','','','','received',1);
INSERT INTO "counter" VALUES('steps','shop','production','model-1','hard','','',3);
INSERT INTO "counter" VALUES('steps_bucket','shop','production','model-1','hard','','3.0',1);
INSERT INTO "counter" VALUES('tokens','shop','production','model-1','hard','','input',812);
INSERT INTO "counter" VALUES('tokens','shop','production','model-1','hard','','output',90);
INSERT INTO "counter" VALUES('outcome_revisions','shop','production','model-1','hard','search','success>failure',1);
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
INSERT INTO "dead_letter" VALUES('agent-traces',0,6,'not_json','Invalid JSON','0000000000000000000000000000000000000000000000000000000000000000',7,1790000000.0);
CREATE TABLE floor_set (
	number INTEGER NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	floors TEXT NOT NULL, 
	CONSTRAINT pk_floor_set PRIMARY KEY (number)
);
CREATE TABLE kafka_offset (
	topic TEXT NOT NULL, 
	partition INTEGER NOT NULL, 
	next_offset BIGINT NOT NULL, 
	CONSTRAINT pk_kafka_offset PRIMARY KEY (topic, partition)
);
INSERT INTO "kafka_offset" VALUES('agent-traces',0,8);
CREATE TABLE label_value (
	label TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_label_value PRIMARY KEY (label, scope, value)
);
INSERT INTO "label_value" VALUES('service','','shop production');
INSERT INTO "label_value" VALUES('model_version','shop production','model-1');
INSERT INTO "label_value" VALUES('capability','shop','search');
INSERT INTO "label_value" VALUES('failure_class','shop','wrong_tool');
INSERT INTO "label_value" VALUES('model_version','shop production','model-2');
CREATE TABLE model_version (
	id INTEGER NOT NULL, 
	service TEXT NOT NULL, 
	environment TEXT NOT NULL, 
	model_version TEXT NOT NULL, 
	first_started_at DOUBLE NOT NULL, 
	last_started_at DOUBLE NOT NULL, 
	requests BIGINT NOT NULL, 
	labelled BIGINT NOT NULL, 
	CONSTRAINT pk_model_version PRIMARY KEY (id), 
	CONSTRAINT uq_model_version UNIQUE (service, environment, model_version)
);
INSERT INTO "model_version" VALUES(1,'shop','production','model-1',1790000000.0,1790007300.0,3,2);
INSERT INTO "model_version" VALUES(2,'shop','production','model-2',1790003700.0,1790003700.0,1,1);
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
	success BOOLEAN, 
	failure_class TEXT, 
	outcome_source TEXT, 
	outcome_score DOUBLE, 
	labelled_at DOUBLE, 
	outcomes TEXT, 
	CONSTRAINT pk_request PRIMARY KEY (trace_id), 
	CONSTRAINT fk_request_model_version_id FOREIGN KEY(model_version_id) REFERENCES model_version (id)
);
INSERT INTO "request" VALUES('orphan',NULL,NULL,1790000000.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,'judge',NULL,1790000000.0,NULL);
INSERT INTO "request" VALUES('t1',1,1790000000.0,1790000000.0,'search',NULL,NULL,NULL,NULL,'hard','hard',1.5,0.25,1,9,'c1',0,'wrong_tool','judge',NULL,1790000000.0,NULL);
INSERT INTO "request" VALUES('t2',1,1790003600.0,1790000000.0,'search',NULL,NULL,NULL,NULL,'hard','hard',1.5,0.25,1,9,'c1',0,'wrong_tool','judge',NULL,1790009000.0,NULL);
INSERT INTO "request" VALUES('t3',1,1790007300.0,1790000000.0,'search',NULL,NULL,NULL,NULL,'easy','easy',-3.0,0.5,0,1,'c1',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "request" VALUES('t4',2,1790003700.0,1790000000.0,'search',NULL,NULL,NULL,NULL,'easy','easy',-3.0,0.5,0,1,'c1',1,NULL,'judge',NULL,1790000000.0,NULL);
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
INSERT INTO "rollout" VALUES('r1','shop','production','model-1','model-2',1790000000.0,NULL,'','c1',NULL,NULL);
CREATE TABLE verdict_change (
	rollout_id TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	state TEXT NOT NULL, 
	CONSTRAINT pk_verdict_change PRIMARY KEY (rollout_id, number), 
	CONSTRAINT fk_verdict_change_rollout_id FOREIGN KEY(rollout_id) REFERENCES rollout (id)
);
CREATE TABLE waiting_span (
	trace_id TEXT NOT NULL, 
	span_id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_waiting_span PRIMARY KEY (trace_id, span_id)
);
INSERT INTO "waiting_span" VALUES('t','a','{"ended_at":1795410121.0,"kind":"model","parent_span_id":"root","response_model":"m-1","service":"support-agent","span_id":"a","started_at":1795410120.0,"trace_id":"t"}');
CREATE TABLE waiting_trace (
	trace_id TEXT NOT NULL, 
	first_received_at DOUBLE NOT NULL, 
	last_received_at DOUBLE NOT NULL, 
	root_ended BOOLEAN NOT NULL, 
	span_count INTEGER NOT NULL, 
	CONSTRAINT pk_waiting_trace PRIMARY KEY (trace_id)
);
INSERT INTO "waiting_trace" VALUES('t',1790000000.0,1790000000.0,0,1);
CREATE INDEX ix_request_model_version_id_started_at ON request (model_version_id, started_at);
COMMIT;
