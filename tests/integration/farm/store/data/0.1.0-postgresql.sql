CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.attempt (
    id integer NOT NULL,
    job_id integer NOT NULL,
    number integer NOT NULL,
    worker character varying NOT NULL,
    started_at double precision NOT NULL,
    ended_at double precision,
    "end" character varying,
    message character varying,
    detail json NOT NULL
);
CREATE SEQUENCE public.attempt_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.attempt_id_seq OWNED BY public.attempt.id;
CREATE TABLE public.configuration (
    id integer NOT NULL,
    key character varying(32) NOT NULL,
    model character varying NOT NULL,
    gpu character varying NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    steps integer NOT NULL,
    "precision" character varying NOT NULL,
    cfg boolean NOT NULL,
    prompts integer NOT NULL,
    batch integer NOT NULL,
    weights character varying NOT NULL,
    size character varying NOT NULL,
    seed bigint NOT NULL
);
CREATE SEQUENCE public.configuration_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.configuration_id_seq OWNED BY public.configuration.id;
CREATE TABLE public.coordinator (
    name character varying NOT NULL,
    seen_at double precision NOT NULL
);
CREATE TABLE public.dataset_row (
    id integer NOT NULL,
    dataset character varying NOT NULL,
    measurement_id character varying NOT NULL,
    model character varying NOT NULL,
    gpu character varying NOT NULL,
    document json NOT NULL,
    imported_at double precision NOT NULL
);
CREATE SEQUENCE public.dataset_row_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.dataset_row_id_seq OWNED BY public.dataset_row.id;
CREATE TABLE public.fit (
    id integer NOT NULL,
    law character varying NOT NULL,
    law_version character varying NOT NULL,
    code_version character varying NOT NULL,
    dataset character varying NOT NULL,
    scope json NOT NULL,
    n integer NOT NULL,
    data_hash character varying NOT NULL,
    params json NOT NULL,
    params_std json NOT NULL,
    metrics json NOT NULL,
    document json NOT NULL,
    created_at double precision NOT NULL
);
CREATE SEQUENCE public.fit_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.fit_id_seq OWNED BY public.fit.id;
CREATE TABLE public.job (
    id integer NOT NULL,
    sweep_id integer,
    configuration_id integer NOT NULL,
    replicate integer NOT NULL,
    queue character varying NOT NULL,
    state character varying NOT NULL,
    held boolean NOT NULL,
    attempt integer NOT NULL,
    tries integer NOT NULL,
    worker character varying,
    lease_until double precision,
    sent_at double precision,
    not_before double precision NOT NULL,
    reason character varying,
    loads integer NOT NULL,
    prompts_sha256 character varying,
    code_version character varying NOT NULL,
    catalog_version character varying NOT NULL,
    created_at double precision NOT NULL,
    finished_at double precision
);
CREATE SEQUENCE public.job_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.job_id_seq OWNED BY public.job.id;
CREATE TABLE public.late_measurement (
    measurement_id character varying NOT NULL,
    job_id integer NOT NULL,
    attempt integer NOT NULL,
    worker character varying NOT NULL,
    document json NOT NULL,
    recorded_at double precision NOT NULL
);
CREATE TABLE public.lock (
    name character varying NOT NULL
);
CREATE TABLE public.measurement (
    job_id integer NOT NULL,
    measurement_id character varying NOT NULL,
    configuration_id integer NOT NULL,
    attempt integer NOT NULL,
    worker character varying NOT NULL,
    energy_joules double precision,
    duration_seconds double precision NOT NULL,
    spoiled boolean NOT NULL,
    origin character varying NOT NULL,
    document json NOT NULL,
    recorded_at double precision NOT NULL
);
CREATE TABLE public.prompt_list (
    sha256 character varying(64) NOT NULL,
    prompts json NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE public.refit_state (
    id integer NOT NULL,
    covered integer NOT NULL,
    lease_until double precision NOT NULL,
    token integer NOT NULL
);
CREATE SEQUENCE public.refit_state_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.refit_state_id_seq OWNED BY public.refit_state.id;
CREATE TABLE public.samples (
    measurement_id character varying NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE public.sweep (
    id integer NOT NULL,
    name character varying NOT NULL,
    spec json NOT NULL,
    configurations integer NOT NULL,
    already_measured integer NOT NULL,
    infeasible json NOT NULL,
    paused boolean NOT NULL,
    cancelled boolean NOT NULL,
    cancel_reason character varying,
    deadline double precision,
    budget_joules double precision,
    created_at double precision NOT NULL
);
CREATE SEQUENCE public.sweep_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.sweep_id_seq OWNED BY public.sweep.id;
CREATE TABLE public.sweep_job (
    sweep_id integer NOT NULL,
    job_id integer NOT NULL
);
CREATE TABLE public.worker (
    name character varying NOT NULL,
    gpu character varying NOT NULL,
    queue character varying NOT NULL,
    device_name character varying NOT NULL,
    device_uuid character varying NOT NULL,
    host character varying NOT NULL,
    pid integer NOT NULL,
    code_version character varying NOT NULL,
    state character varying NOT NULL,
    job_id integer,
    started_at double precision NOT NULL,
    seen_at double precision NOT NULL,
    spool_waiting integer NOT NULL,
    drain_requested boolean NOT NULL
);
ALTER TABLE ONLY public.attempt ALTER COLUMN id SET DEFAULT nextval('public.attempt_id_seq'::regclass);
ALTER TABLE ONLY public.configuration ALTER COLUMN id SET DEFAULT nextval('public.configuration_id_seq'::regclass);
ALTER TABLE ONLY public.dataset_row ALTER COLUMN id SET DEFAULT nextval('public.dataset_row_id_seq'::regclass);
ALTER TABLE ONLY public.fit ALTER COLUMN id SET DEFAULT nextval('public.fit_id_seq'::regclass);
ALTER TABLE ONLY public.job ALTER COLUMN id SET DEFAULT nextval('public.job_id_seq'::regclass);
ALTER TABLE ONLY public.refit_state ALTER COLUMN id SET DEFAULT nextval('public.refit_state_id_seq'::regclass);
ALTER TABLE ONLY public.sweep ALTER COLUMN id SET DEFAULT nextval('public.sweep_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.attempt VALUES (1, 1, 1, 'w1', 1795745178.414664, 1795745178.439901, 'accepted', '', '{}');
INSERT INTO public.configuration VALUES (1, '06a1a34554acaabbb1c24925afcb434b', 'sd2', 'a100', 768, 768, 10, 'fp16', false, 1, 1, 'random', 'full', 0);
INSERT INTO public.configuration VALUES (2, 'ba12a9061e25c7e7c0211e463c95abe8', 'sd2', 'a100', 512, 512, 10, 'fp16', false, 1, 1, 'random', 'full', 0);
INSERT INTO public.dataset_row VALUES (1, 'lab', 'row-8b74a46deb1187ffa8bc45451bb95a1e', 'flux', 'a100', '{"model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 10, "precision": "fp16", "cfg": 0, "prompts": 100, "energy_joules": 54500.0, "batch": 1, "weights": "random", "size": "full", "seed": 0, "dataset": "lab", "measurement_id": "row-8b74a46deb1187ffa8bc45451bb95a1e", "idle_watts": null, "duration_seconds": null, "energy_std_joules": null, "meter": "", "flags": "", "device_name": "", "measured_at": "", "extra": {"note": "old"}}', 1795745178.527018);
INSERT INTO public.dataset_row VALUES (2, 'lab', 'row-cd984e163021632943c081266264f4a2', 'flux', 'a100', '{"model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 20, "precision": "fp16", "cfg": 0, "prompts": 100, "energy_joules": 103000.0, "batch": 1, "weights": "random", "size": "full", "seed": 0, "dataset": "lab", "measurement_id": "row-cd984e163021632943c081266264f4a2", "idle_watts": null, "duration_seconds": null, "energy_std_joules": null, "meter": "", "flags": "", "device_name": "", "measured_at": "", "extra": {"note": "old"}}', 1795745178.527018);
INSERT INTO public.dataset_row VALUES (3, 'lab', 'row-c85eea2e41c130c22742d73b52bfd270', 'flux', 'a100', '{"model": "flux", "gpu": "a100", "resolution": 512, "width": 512, "height": 512, "steps": 30, "precision": "fp16", "cfg": 0, "prompts": 100, "energy_joules": 154000.0, "batch": 1, "weights": "random", "size": "full", "seed": 0, "dataset": "lab", "measurement_id": "row-c85eea2e41c130c22742d73b52bfd270", "idle_watts": null, "duration_seconds": null, "energy_std_joules": null, "meter": "", "flags": "", "device_name": "", "measured_at": "", "extra": {"note": "old"}}', 1795745178.527018);
INSERT INTO public.fit VALUES (1, 'paper', '1', '0.1.0+80b3e7548e87', 'all', '{"origin": "measured", "models": ["flux", "sd2"], "gpus": ["a100"], "precisions": ["fp16"], "cells": {"flux on a100": 3, "sd2 on a100": 1}}', 4, '93a7307a7983899ea44ffe800be9d61864d1cab95242e20ce056f70b817f7fd8', '{"ln_a": -22.842930178493482, "alpha": 0.9425841496712962, "beta_res": 0.39983869000875016}', '{"ln_a": 1.607153785842274, "alpha": 0.019370861956270122, "beta_res": 0.183330248543619}', '{"fit": {"r2_log": 0.999993536597502, "mape_percent": 0.6152203764078795, "mae_joules": 677.2749750048843, "spearman": 1.0, "pearson": 0.9998886893152441}, "validation": null}', '{"law": "paper", "law_version": 1, "code_version": "0.1.0+80b3e7548e87", "data_sha256": "93a7307a7983899ea44ffe800be9d61864d1cab95242e20ce056f70b817f7fd8", "settings": {}, "n": 4, "scope": {"origin": "measured", "models": ["flux", "sd2"], "gpus": ["a100"], "precisions": ["fp16"], "cells": {"flux on a100": 3, "sd2 on a100": 1}}, "params": {"ln_a": -22.842930178493482, "alpha": 0.9425841496712962, "beta_res": 0.39983869000875016}, "params_std": {"ln_a": 1.607153785842274, "alpha": 0.019370861956270122, "beta_res": 0.183330248543619}, "left_out": [{"what": "column", "name": "beta_fp32", "why": "the same in every row: dropped", "count": 1}, {"what": "column", "name": "beta_gpu", "why": "the same in every row: dropped", "count": 1}], "state": {"factors": {"flux": {"rows": 3, "columns": {"intercept": [-1.7320508075688772, 0.0, 0.0], "ln_flops": [-30.20830806551906, -0.7856640352007875, 0.0], "fp32": [0.0, 0.0, 0.0], "ln_pixels": [-12.005661338529436, 0.0, 0.0], "gpu:a100": [-1.7320508075688772, 0.0, 0.0], "response": [6.290915389666962, -0.7405544665470556, 0.015218989569880659]}}, "sd2": {"rows": 1, "columns": {"intercept": [1.0], "ln_flops": [9.81975358100293], "fp32": [0.0], "ln_pixels": [7.742402021815782], "gpu:a100": [1.0], "response": [-10.491274217438248]}}}}}', 1795745179.134038);
INSERT INTO public.job VALUES (2, 1, 2, 0, 'a100', 'queued', false, 0, 0, NULL, NULL, 1795745178.404677, 0, NULL, 0, '710d86ef42c6372fe8b49dd96f5dacf9d010153309b633f219e601002889ad14', '0.1.0', '4140f069a8df3654', 1795745178.365503, NULL);
INSERT INTO public.job VALUES (1, 1, 1, 0, 'a100', 'done', false, 1, 1, NULL, NULL, 1795745178.404463, 0, NULL, 0, '710d86ef42c6372fe8b49dd96f5dacf9d010153309b633f219e601002889ad14', '0.1.0', '4140f069a8df3654', 1795745178.365503, 1795745178.517251);
INSERT INTO public.lock VALUES ('submit');
INSERT INTO public.measurement VALUES (1, 'old-1', 1, 1, 'w1', 100, 2, false, 'measured', '{"model": "sd2", "gpu": "a100", "width": 768, "height": 768, "steps": 10, "precision": "fp16", "cfg": false, "prompts": 1, "batch": 1, "weights": "random", "size": "full", "seed": 0, "measurement_id": "old-1", "energy_joules": 100.0, "energy_std_joules": 1.0, "systematic_percent": null, "idle_watts": 50.0, "idle_watts_std": null, "cold_idle_watts": null, "duration_seconds": 2.0, "phases": {"denoise": {"joules": 90.0, "seconds": 1.8, "std_joules": null}}, "forwards": null, "forward_batch": null, "repeats": 1, "stop_reason": "", "meter": "nvml", "flags": [], "environment": {"device_name": "NVIDIA A100-SXM4-80GB", "power_limit_watts": 400.0}, "measured_at": "2026-01-01T00:00:00Z"}', 1795745178.436221);
INSERT INTO public.prompt_list VALUES ('710d86ef42c6372fe8b49dd96f5dacf9d010153309b633f219e601002889ad14', '["A brown dog running across a snow covered field with a red ball in its mouth."]', 1795745178.368387);
INSERT INTO public.refit_state VALUES (1, 4, 0, 1);
INSERT INTO public.sweep VALUES (1, 'old', '{"name": "old", "models": ["sd2"], "gpus": ["a100"], "resolutions": [[512, 512], [768, 768]], "steps": [10], "precisions": ["fp16"], "cfg": [false], "prompts": [1], "batch": [1], "weights": ["random"], "size": ["full"], "replicates": 1, "seed": 0, "prompts_file": null, "include": [], "exclude": [], "deadline": null, "budget_joules": null}', 2, 0, '[]', false, false, NULL, NULL, NULL, 1795745178.365503);
INSERT INTO public.sweep_job VALUES (1, 1);
INSERT INTO public.sweep_job VALUES (1, 2);
SELECT pg_catalog.setval('public.attempt_id_seq', 1, true);
SELECT pg_catalog.setval('public.configuration_id_seq', 2, true);
SELECT pg_catalog.setval('public.dataset_row_id_seq', 3, true);
SELECT pg_catalog.setval('public.fit_id_seq', 1, true);
SELECT pg_catalog.setval('public.job_id_seq', 2, true);
SELECT pg_catalog.setval('public.refit_state_id_seq', 1, false);
SELECT pg_catalog.setval('public.sweep_id_seq', 1, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_job_id_number_key UNIQUE (job_id, number);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.configuration
    ADD CONSTRAINT configuration_key_key UNIQUE (key);
ALTER TABLE ONLY public.configuration
    ADD CONSTRAINT configuration_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.coordinator
    ADD CONSTRAINT coordinator_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.dataset_row
    ADD CONSTRAINT dataset_row_dataset_measurement_id_key UNIQUE (dataset, measurement_id);
ALTER TABLE ONLY public.dataset_row
    ADD CONSTRAINT dataset_row_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.fit
    ADD CONSTRAINT fit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.late_measurement
    ADD CONSTRAINT late_measurement_pkey PRIMARY KEY (measurement_id);
ALTER TABLE ONLY public.lock
    ADD CONSTRAINT lock_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.measurement
    ADD CONSTRAINT measurement_measurement_id_key UNIQUE (measurement_id);
ALTER TABLE ONLY public.measurement
    ADD CONSTRAINT measurement_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.prompt_list
    ADD CONSTRAINT prompt_list_pkey PRIMARY KEY (sha256);
ALTER TABLE ONLY public.refit_state
    ADD CONSTRAINT refit_state_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.samples
    ADD CONSTRAINT samples_pkey PRIMARY KEY (measurement_id);
ALTER TABLE ONLY public.sweep_job
    ADD CONSTRAINT sweep_job_pkey PRIMARY KEY (sweep_id, job_id);
ALTER TABLE ONLY public.sweep
    ADD CONSTRAINT sweep_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (name);
CREATE INDEX ix_configuration_gpu ON public.configuration USING btree (gpu);
CREATE INDEX ix_configuration_model ON public.configuration USING btree (model);
CREATE INDEX ix_fit_law ON public.fit USING btree (law);
CREATE INDEX ix_job_configuration_id ON public.job USING btree (configuration_id);
CREATE INDEX ix_job_sweep_id ON public.job USING btree (sweep_id);
CREATE INDEX ix_late_measurement_job_id ON public.late_measurement USING btree (job_id);
CREATE INDEX ix_measurement_configuration_id ON public.measurement USING btree (configuration_id);
CREATE INDEX ix_sweep_job_job_id ON public.sweep_job USING btree (job_id);
CREATE INDEX ix_sweep_name ON public.sweep USING btree (name);
CREATE INDEX job_due ON public.job USING btree (queue, id) WHERE (((state)::text = 'queued'::text) AND (sent_at IS NULL) AND (NOT held));
CREATE INDEX job_lease ON public.job USING btree (lease_until) WHERE ((state)::text = 'running'::text);
CREATE UNIQUE INDEX job_open ON public.job USING btree (configuration_id, replicate) WHERE ((state)::text = ANY ((ARRAY['queued'::character varying, 'running'::character varying])::text[]));
CREATE INDEX job_queue_open ON public.job USING btree (queue) WHERE ((state)::text = ANY ((ARRAY['queued'::character varying, 'running'::character varying])::text[]));
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_configuration_id_fkey FOREIGN KEY (configuration_id) REFERENCES public.configuration(id);
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_sweep_id_fkey FOREIGN KEY (sweep_id) REFERENCES public.sweep(id);
ALTER TABLE ONLY public.late_measurement
    ADD CONSTRAINT late_measurement_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE ONLY public.measurement
    ADD CONSTRAINT measurement_configuration_id_fkey FOREIGN KEY (configuration_id) REFERENCES public.configuration(id);
ALTER TABLE ONLY public.measurement
    ADD CONSTRAINT measurement_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE ONLY public.sweep_job
    ADD CONSTRAINT sweep_job_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.job(id);
ALTER TABLE ONLY public.sweep_job
    ADD CONSTRAINT sweep_job_sweep_id_fkey FOREIGN KEY (sweep_id) REFERENCES public.sweep(id);
