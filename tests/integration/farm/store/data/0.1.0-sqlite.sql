PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0001');
CREATE TABLE configuration (
	id INTEGER NOT NULL, 
	"key" VARCHAR(32) NOT NULL, 
	model VARCHAR NOT NULL, 
	gpu VARCHAR NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	steps INTEGER NOT NULL, 
	precision VARCHAR NOT NULL, 
	cfg BOOLEAN NOT NULL, 
	prompts INTEGER NOT NULL, 
	batch INTEGER NOT NULL, 
	weights VARCHAR NOT NULL, 
	size VARCHAR NOT NULL, 
	seed BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE ("key")
);
INSERT INTO configuration VALUES(1,'06a1a34554acaabbb1c24925afcb434b','sd2','a100',768,768,10,'fp16',0,1,1,'random','full',0);
INSERT INTO configuration VALUES(2,'ba12a9061e25c7e7c0211e463c95abe8','sd2','a100',512,512,10,'fp16',0,1,1,'random','full',0);
CREATE TABLE coordinator (
	name VARCHAR NOT NULL, 
	seen_at FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE dataset_row (
	id INTEGER NOT NULL, 
	dataset VARCHAR NOT NULL, 
	measurement_id VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	gpu VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	imported_at FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (dataset, measurement_id)
);
INSERT INTO dataset_row VALUES(1,'lab','row-8b74a46deb1187ffa8bc45451bb95a1e','flux','a100','{"model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 10, "precision": "fp16", "cfg": 0, "prompts": 100, "energy_joules": 54500.0, "batch": 1, "weights": "random", "size": "full", "seed": 0, "dataset": "lab", "measurement_id": "row-8b74a46deb1187ffa8bc45451bb95a1e", "idle_watts": null, "duration_seconds": null, "energy_std_joules": null, "meter": "", "flags": "", "device_name": "", "measured_at": "", "extra": {"note": "old"}}',1795745174.5719909668);
INSERT INTO dataset_row VALUES(2,'lab','row-cd984e163021632943c081266264f4a2','flux','a100','{"model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 20, "precision": "fp16", "cfg": 0, "prompts": 100, "energy_joules": 103000.0, "batch": 1, "weights": "random", "size": "full", "seed": 0, "dataset": "lab", "measurement_id": "row-cd984e163021632943c081266264f4a2", "idle_watts": null, "duration_seconds": null, "energy_std_joules": null, "meter": "", "flags": "", "device_name": "", "measured_at": "", "extra": {"note": "old"}}',1795745174.5719909668);
INSERT INTO dataset_row VALUES(3,'lab','row-c85eea2e41c130c22742d73b52bfd270','flux','a100','{"model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 30, "precision": "fp16", "cfg": 0, "prompts": 100, "energy_joules": 154000.0, "batch": 1, "weights": "random", "size": "full", "seed": 0, "dataset": "lab", "measurement_id": "row-c85eea2e41c130c22742d73b52bfd270", "idle_watts": null, "duration_seconds": null, "energy_std_joules": null, "meter": "", "flags": "", "device_name": "", "measured_at": "", "extra": {"note": "old"}}',1795745174.5719909668);
CREATE TABLE fit (
	id INTEGER NOT NULL, 
	law VARCHAR NOT NULL, 
	law_version VARCHAR NOT NULL, 
	code_version VARCHAR NOT NULL, 
	dataset VARCHAR NOT NULL, 
	scope JSON NOT NULL, 
	n INTEGER NOT NULL, 
	data_hash VARCHAR NOT NULL, 
	params JSON NOT NULL, 
	params_std JSON NOT NULL, 
	metrics JSON NOT NULL, 
	document JSON NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO fit VALUES(1,'paper','1','0.1.0+80b3e7548e87','all','{"origin": "measured", "models": ["flux", "sd2"], "gpus": ["a100"], "precisions": ["fp16"], "cells": {"flux on a100": 3, "sd2 on a100": 1}}',4,'93a7307a7983899ea44ffe800be9d61864d1cab95242e20ce056f70b817f7fd8','{"ln_a": -22.842930178493482, "alpha": 0.9425841496712962, "beta_res": 0.39983869000875016}','{"ln_a": 1.607153785842274, "alpha": 0.019370861956270122, "beta_res": 0.183330248543619}','{"fit": {"r2_log": 0.999993536597502, "mape_percent": 0.6152203764078795, "mae_joules": 677.2749750048843, "spearman": 1.0, "pearson": 0.9998886893152441}, "validation": null}','{"law": "paper", "law_version": 1, "code_version": "0.1.0+80b3e7548e87", "data_sha256": "93a7307a7983899ea44ffe800be9d61864d1cab95242e20ce056f70b817f7fd8", "settings": {}, "n": 4, "scope": {"origin": "measured", "models": ["flux", "sd2"], "gpus": ["a100"], "precisions": ["fp16"], "cells": {"flux on a100": 3, "sd2 on a100": 1}}, "params": {"ln_a": -22.842930178493482, "alpha": 0.9425841496712962, "beta_res": 0.39983869000875016}, "params_std": {"ln_a": 1.607153785842274, "alpha": 0.019370861956270122, "beta_res": 0.183330248543619}, "left_out": [{"what": "column", "name": "beta_fp32", "why": "the same in every row: dropped", "count": 1}, {"what": "column", "name": "beta_gpu", "why": "the same in every row: dropped", "count": 1}], "state": {"factors": {"flux": {"rows": 3, "columns": {"intercept": [-1.7320508075688772, 0.0, 0.0], "ln_flops": [-30.20830806551906, -0.7856640352007875, 0.0], "fp32": [0.0, 0.0, 0.0], "ln_pixels": [-12.005661338529436, 0.0, 0.0], "gpu:a100": [-1.7320508075688772, 0.0, 0.0], "response": [6.290915389666962, -0.7405544665470556, 0.015218989569880659]}}, "sd2": {"rows": 1, "columns": {"intercept": [1.0], "ln_flops": [9.81975358100293], "fp32": [0.0], "ln_pixels": [7.742402021815782], "gpu:a100": [1.0], "response": [-10.491274217438248]}}}}}',1795745175.1150176525);
CREATE TABLE lock (
	name VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO lock VALUES('submit');
CREATE TABLE prompt_list (
	sha256 VARCHAR(64) NOT NULL, 
	prompts JSON NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (sha256)
);
INSERT INTO prompt_list VALUES('710d86ef42c6372fe8b49dd96f5dacf9d010153309b633f219e601002889ad14','["A brown dog running across a snow covered field with a red ball in its mouth."]',1795745174.520009756);
CREATE TABLE refit_state (
	id INTEGER NOT NULL, 
	covered INTEGER NOT NULL, 
	lease_until FLOAT NOT NULL, 
	token INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO refit_state VALUES(1,4,0.0,1);
CREATE TABLE samples (
	measurement_id VARCHAR NOT NULL, 
	data BLOB NOT NULL, 
	PRIMARY KEY (measurement_id)
);
CREATE TABLE sweep (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	spec JSON NOT NULL, 
	configurations INTEGER NOT NULL, 
	already_measured INTEGER NOT NULL, 
	infeasible JSON NOT NULL, 
	paused BOOLEAN NOT NULL, 
	cancelled BOOLEAN NOT NULL, 
	cancel_reason VARCHAR, 
	deadline FLOAT, 
	budget_joules FLOAT, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO sweep VALUES(1,'old','{"name": "old", "models": ["sd2"], "gpus": ["a100"], "resolutions": [[512, 512], [768, 768]], "steps": [10], "precisions": ["fp16"], "cfg": [false], "prompts": [1], "batch": [1], "weights": ["random"], "size": ["full"], "replicates": 1, "seed": 0, "prompts_file": null, "include": [], "exclude": [], "deadline": null, "budget_joules": null}',2,0,'[]',0,0,NULL,NULL,NULL,1795745174.519003868);
CREATE TABLE worker (
	name VARCHAR NOT NULL, 
	gpu VARCHAR NOT NULL, 
	queue VARCHAR NOT NULL, 
	device_name VARCHAR NOT NULL, 
	device_uuid VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	code_version VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	job_id INTEGER, 
	started_at FLOAT NOT NULL, 
	seen_at FLOAT NOT NULL, 
	spool_waiting INTEGER NOT NULL, 
	drain_requested BOOLEAN NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE job (
	id INTEGER NOT NULL, 
	sweep_id INTEGER, 
	configuration_id INTEGER NOT NULL, 
	replicate INTEGER NOT NULL, 
	queue VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	held BOOLEAN NOT NULL, 
	attempt INTEGER NOT NULL, 
	tries INTEGER NOT NULL, 
	worker VARCHAR, 
	lease_until FLOAT, 
	sent_at FLOAT, 
	not_before FLOAT NOT NULL, 
	reason VARCHAR, 
	loads INTEGER NOT NULL, 
	prompts_sha256 VARCHAR, 
	code_version VARCHAR NOT NULL, 
	catalog_version VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	finished_at FLOAT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(configuration_id) REFERENCES configuration (id), 
	FOREIGN KEY(sweep_id) REFERENCES sweep (id)
);
INSERT INTO job VALUES(1,1,1,0,'a100','done',0,1,1,NULL,NULL,1795745174.5400056839,0.0,NULL,0,'710d86ef42c6372fe8b49dd96f5dacf9d010153309b633f219e601002889ad14','0.1.0','4140f069a8df3654',1795745174.519003868,1795745174.5649905205);
INSERT INTO job VALUES(2,1,2,0,'a100','queued',0,0,0,NULL,NULL,1795745174.5400056839,0.0,NULL,0,'710d86ef42c6372fe8b49dd96f5dacf9d010153309b633f219e601002889ad14','0.1.0','4140f069a8df3654',1795745174.519003868,NULL);
CREATE TABLE attempt (
	id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	worker VARCHAR NOT NULL, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT, 
	"end" VARCHAR, 
	message VARCHAR, 
	detail JSON NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(job_id) REFERENCES job (id), 
	UNIQUE (job_id, number)
);
INSERT INTO attempt VALUES(1,1,1,'w1',1795745174.5460004805,1795745174.5620131492,'accepted','','{}');
CREATE TABLE late_measurement (
	measurement_id VARCHAR NOT NULL, 
	job_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	worker VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	PRIMARY KEY (measurement_id), 
	FOREIGN KEY(job_id) REFERENCES job (id)
);
CREATE TABLE measurement (
	job_id INTEGER NOT NULL, 
	measurement_id VARCHAR NOT NULL, 
	configuration_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	worker VARCHAR NOT NULL, 
	energy_joules FLOAT, 
	duration_seconds FLOAT NOT NULL, 
	spoiled BOOLEAN NOT NULL, 
	origin VARCHAR NOT NULL, 
	document JSON NOT NULL, 
	recorded_at FLOAT NOT NULL, 
	PRIMARY KEY (job_id), 
	FOREIGN KEY(configuration_id) REFERENCES configuration (id), 
	FOREIGN KEY(job_id) REFERENCES job (id), 
	UNIQUE (measurement_id)
);
INSERT INTO measurement VALUES(1,'old-1',1,1,'w1',100.0,2.0,0,'measured','{"model": "sd2", "gpu": "a100", "width": 768, "height": 768, "steps": 10, "precision": "fp16", "cfg": false, "prompts": 1, "batch": 1, "weights": "random", "size": "full", "seed": 0, "measurement_id": "old-1", "energy_joules": 100.0, "energy_std_joules": 1.0, "systematic_percent": null, "idle_watts": 50.0, "idle_watts_std": null, "cold_idle_watts": null, "duration_seconds": 2.0, "phases": {"denoise": {"joules": 90.0, "seconds": 1.8, "std_joules": null}}, "forwards": null, "forward_batch": null, "repeats": 1, "stop_reason": "", "meter": "nvml", "flags": [], "environment": {"device_name": "NVIDIA A100-SXM4-80GB", "power_limit_watts": 400.0}, "measured_at": "2026-01-01T00:00:00Z"}',1795745174.5610072612);
CREATE TABLE sweep_job (
	sweep_id INTEGER NOT NULL, 
	job_id INTEGER NOT NULL, 
	PRIMARY KEY (sweep_id, job_id), 
	FOREIGN KEY(job_id) REFERENCES job (id), 
	FOREIGN KEY(sweep_id) REFERENCES sweep (id)
);
INSERT INTO sweep_job VALUES(1,1);
INSERT INTO sweep_job VALUES(1,2);
CREATE INDEX ix_configuration_gpu ON configuration (gpu);
CREATE INDEX ix_configuration_model ON configuration (model);
CREATE INDEX ix_fit_law ON fit (law);
CREATE INDEX ix_sweep_name ON sweep (name);
CREATE INDEX ix_job_configuration_id ON job (configuration_id);
CREATE INDEX ix_job_sweep_id ON job (sweep_id);
CREATE INDEX job_due ON job (queue, id) WHERE state = 'queued' AND sent_at IS NULL AND NOT held;
CREATE INDEX job_lease ON job (lease_until) WHERE state = 'running';
CREATE UNIQUE INDEX job_open ON job (configuration_id, replicate) WHERE state IN ('queued', 'running');
CREATE INDEX job_queue_open ON job (queue) WHERE state IN ('queued', 'running');
CREATE INDEX ix_late_measurement_job_id ON late_measurement (job_id);
CREATE INDEX ix_measurement_configuration_id ON measurement (configuration_id);
CREATE INDEX ix_sweep_job_job_id ON sweep_job (job_id);
COMMIT;
