/* A libnvidia-ml.so.1 that plays a known power trace, for the real nvidia-ml-py, CodeCarbon and Zeus.
 *
 * What never changes (devices, sensors, noise) is read from the text file named in FAKE_NVML_CONFIG whenever NVML is
 * initialised afresh. What changes while it plays (the clock, the trace, faults, foreign processes) lives in the shared
 * file that the configuration names, so that a test, the meter and a command under test see one device. fake.py writes
 * both and documents them; the structures below are its twin.
 *
 * True power of a device at time t (seconds):
 *     idle + drift * (t - epoch) + trace(t) + noise(t)        the trace is piecewise linear, in watts above idle
 * Noise is white plus AR(1) on a grid of `noise_step` seconds, a function of the seed and the time alone. The same
 * functions answer NVML and fake_nvml_energy(), so that the exact energy of any interval is known.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_DEVICES = 8, MAX_POINTS = 65536, MAX_FAULTS = 64, MAX_PROCESSES = 32, MAX_ERRORS = 32 };
enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15
};

/* ---- shared while it plays; the twin of fake.py ---- */

typedef struct { double time, watts, slope, joules; } Point; /* joules: energy of the trace up to `time` */
typedef struct { int64_t kind; double start, end, value; } Fault;
enum { NO_COUNTER = 1, RESET, FREEZE, JUMP, LOST, THROTTLE, PROCESS, MIG, TEMPERATURE, POWER_LIMIT, SM_CLOCK, STUCK_POWER };

typedef struct {
    int64_t points, faults;
    double last_poll, lost_joules; /* poll-rate under-count */
    int64_t polls;
    Fault fault[MAX_FAULTS];
    Point point[MAX_POINTS];
} Track;

typedef struct {
    double epoch, virtual_now; /* seconds */
    int64_t is_virtual, tracks;
    Track track[MAX_DEVICES];
} Stage;

/* ---- read from the configuration ---- */

typedef struct { double white, correlated, correlation_seconds; uint64_t seed; } Noise;

typedef struct {
    int present, hidden, field_average, field_instant, usage_is_average, quantum_mj;
    char name[96], uuid[96], bus_id[32], serial[32];
    int architecture, capability_major, capability_minor, persistence, compute_mode;
    double memory_bytes, memory_used, power_limit, temperature;
    int application_clock, customer_clock; /* of the multiprocessors, MHz */
    double idle, drift;
    Noise noise, sensor_noise; /* in the true power, and seen by the sensor only */
    double sensor_period, sensor_window, sensor_scale; /* window = period: sees all */
    double counter_start, counter_scale, counter_period, counter_phase, counter_latency, counter_jitter, blind;
    double power_period, power_phase, average_window;
} Device;

typedef struct { double step; int64_t n, capacity; double *value, *sum, correlated; } Series;
typedef struct { int64_t n, capacity; double *sum; } Sums; /* joules of a part-time sensor after each of its periods */

static struct {
    Device device[MAX_DEVICES];
    int devices;
    char driver[64];
    double call_seconds, noise_step;
    struct { char function[64]; int code, times; } error[MAX_ERRORS]; /* times: so often, then no more; -1: always */
    int errors;
    Stage *stage;
    int users;
    Series noise[MAX_DEVICES], sensor_noise[MAX_DEVICES];
    Sums sensed[MAX_DEVICES];
} the;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- time ---- */

static double now(void) {
    if (the.stage->is_virtual) return the.stage->virtual_now;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void pass(double seconds) {
    if (seconds <= 0) return;
    if (the.stage->is_virtual) { the.stage->virtual_now += seconds; return; }
    struct timespec t = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

/* ---- noise: a Gaussian for every cell of the grid, from seed and cell number alone ---- */

static double uniform(uint64_t seed, uint64_t n) { /* splitmix64, in (0, 1) */
    uint64_t z = seed * 0xD1342543DE82EF95ull + (n + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return ((z ^ (z >> 31)) >> 11) * 0x1p-53 + 0x1p-54;
}

static double gaussian(uint64_t seed, uint64_t n) {
    return sqrt(-2 * log(uniform(seed, 2 * n))) * cos(2 * M_PI * uniform(seed, 2 * n + 1));
}

static void extend(Series *s, const Noise *noise, int64_t cells) {
    if (cells > s->capacity) {
        s->capacity = cells + cells / 2 + 4096;
        s->value = realloc(s->value, s->capacity * sizeof(double));
        s->sum = realloc(s->sum, (s->capacity + 1) * sizeof(double));
    }
    double rho = noise->correlation_seconds > 0 ? exp(-s->step / noise->correlation_seconds) : 0;
    if (s->n == 0) s->sum[0] = 0;
    for (; s->n < cells; s->n++) {
        double innovation = noise->correlated * gaussian(noise->seed + 1, s->n);
        s->correlated = s->n ? rho * s->correlated + sqrt(1 - rho * rho) * innovation : innovation;
        s->value[s->n] = s->correlated + noise->white * gaussian(noise->seed, s->n);
        s->sum[s->n + 1] = s->sum[s->n] + s->value[s->n] * s->step;
    }
}

static double noise_joules(Series *s, const Noise *noise, double t) { /* from the epoch to t */
    if (noise->white == 0 && noise->correlated == 0) return 0;
    double x = (t - the.stage->epoch) / s->step;
    if (x <= 0) return 0;
    int64_t cell = (int64_t)x;
    extend(s, noise, cell + 1);
    return s->sum[cell] + (x - cell) * s->step * s->value[cell];
}

static double noise_watts(Series *s, const Noise *noise, double t) {
    if (noise->white == 0 && noise->correlated == 0) return 0;
    double x = (t - the.stage->epoch) / s->step;
    int64_t cell = x > 0 ? (int64_t)x : 0;
    extend(s, noise, cell + 1);
    return s->value[cell];
}

/* ---- the true power and its integral ---- */

static const Point *point_at(int d, double t) { /* the last one not after t, or NULL */
    const Track *track = &the.stage->track[d];
    int64_t low = 0, high = __atomic_load_n(&track->points, __ATOMIC_ACQUIRE);
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (track->point[middle].time <= t) low = middle + 1; else high = middle;
    }
    return low ? &track->point[low - 1] : NULL;
}

static double trace_joules(int d, double t) {
    const Point *p = point_at(d, t);
    double dt = p ? t - p->time : 0;
    return p ? p->joules + p->watts * dt + 0.5 * p->slope * dt * dt : 0;
}

static double trace_watts(int d, double t) {
    const Point *p = point_at(d, t);
    return p ? p->watts + p->slope * (t - p->time) : 0;
}

static double idle_joules(int d, double t) {
    double x = t - the.stage->epoch;
    return the.device[d].idle * x + 0.5 * the.device[d].drift * x * x;
}

static double true_joules(int d, double t) {
    return idle_joules(d, t) + trace_joules(d, t) + noise_joules(&the.noise[d], &the.device[d].noise, t);
}

static double true_watts(int d, double t) {
    return the.device[d].idle + the.device[d].drift * (t - the.stage->epoch) + trace_watts(d, t) +
           noise_watts(&the.noise[d], &the.device[d].noise, t);
}

/* ---- what the sensor makes of it ---- */

static int sees_all(const Device *d) { return d->sensor_window >= d->sensor_period; }

static double seen_joules(int d, double t) { /* by a sensor that is always awake */
    return true_joules(d, t) + noise_joules(&the.sensor_noise[d], &the.device[d].sensor_noise, t);
}

static double window_watts(int d, int64_t k) { /* mean over the waking part, at the end of sensor period k */
    const Device *device = &the.device[d];
    double end = the.stage->epoch + device->counter_phase + (k + 1) * device->sensor_period;
    return (seen_joules(d, end) - seen_joules(d, end - device->sensor_window)) / device->sensor_window;
}

static double sensor_joules(int d, double t) { /* from the epoch to t, as the device's own integral has it */
    const Device *device = &the.device[d];
    if (sees_all(device)) return device->sensor_scale * seen_joules(d, t);
    Sums *sensed = &the.sensed[d];
    int64_t periods = (int64_t)floor((t - the.stage->epoch - device->counter_phase) / device->sensor_period + 1e-9);
    if (periods <= 0) return 0;
    if (periods > sensed->capacity) {
        sensed->capacity = 2 * periods + 1024;
        sensed->sum = realloc(sensed->sum, (sensed->capacity + 1) * sizeof(double));
    }
    sensed->sum[0] = 0;
    for (int64_t k = sensed->n; k < periods; k++)
        sensed->sum[k + 1] = sensed->sum[k] + window_watts(d, k) * device->sensor_period;
    if (periods > sensed->n) sensed->n = periods;
    return device->sensor_scale * sensed->sum[periods];
}

static double mean_watts(int d, double t, double seconds) {
    return the.device[d].sensor_scale * (seen_joules(d, t) - seen_joules(d, t - seconds)) / seconds;
}

static double instant_watts(int d, double t) {
    const Device *device = &the.device[d];
    if (!sees_all(device)) return mean_watts(d, t, device->sensor_window);
    return device->sensor_scale *
           (true_watts(d, t) + noise_watts(&the.sensor_noise[d], &device->sensor_noise, t));
}

/* ---- faults ---- */

static const Fault *fault_at(int d, int kind, double t) { /* the latest of that kind in force at t */
    const Track *track = &the.stage->track[d];
    int64_t n = __atomic_load_n(&track->faults, __ATOMIC_ACQUIRE);
    for (int64_t i = n - 1; i >= 0; i--)
        if (track->fault[i].kind == kind && track->fault[i].start <= t && t < track->fault[i].end) return &track->fault[i];
    return NULL;
}

/* ---- the counter and the power readings ---- */

static double last_update(double t, double period, double phase) {
    double origin = the.stage->epoch + phase;
    return origin + floor((t - origin) / period + 1e-9) * period;
}

static double published_tick(const Device *device, double t) { /* the newest tick that can be read at t */
    double tick = last_update(t - device->counter_latency, device->counter_period, device->counter_phase);
    if (device->counter_jitter > 0) { /* each tick comes out up to that much later */
        int64_t k = llround((tick - the.stage->epoch) / device->counter_period);
        if (tick + device->counter_latency + device->counter_jitter * uniform(77, k) > t) tick -= device->counter_period;
    }
    return tick;
}

static int read_counter(int d, unsigned long long *millijoules) {
    const Device *device = &the.device[d];
    Track *track = &the.stage->track[d];
    double t = now();
    if (fault_at(d, NO_COUNTER, t)) return NOT_SUPPORTED;
    if (device->blind > 0) { /* what the counter misses after every look at it */
        double until = fmin(t, track->last_poll + device->blind);
        if (track->last_poll > 0 && until > track->last_poll)
            track->lost_joules += seen_joules(d, until) - seen_joules(d, track->last_poll);
        track->last_poll = t;
    }
    track->polls++;
    double tick = published_tick(device, t);
    const Fault *fault = fault_at(d, FREEZE, tick);
    if (fault) tick = last_update(fault->start, device->counter_period, device->counter_phase);
    double joules = device->counter_start + device->counter_scale * (sensor_joules(d, tick) - track->lost_joules);
    if ((fault = fault_at(d, JUMP, tick))) joules += fault->value;
    if ((fault = fault_at(d, RESET, tick)))
        joules = device->counter_scale * (sensor_joules(d, tick) - sensor_joules(d, fault->start));
    *millijoules = (unsigned long long)(fmax(joules, 0) * 1000 / device->quantum_mj) * device->quantum_mj;
    return SUCCESS;
}

static unsigned read_power(int d, int average) { /* milliwatts */
    const Device *device = &the.device[d];
    double t = last_update(now(), device->power_period, device->power_phase);
    const Fault *stuck = fault_at(d, STUCK_POWER, t);
    if (stuck) t = stuck->start;
    double watts = average ? mean_watts(d, t, device->average_window) : instant_watts(d, t);
    return (unsigned)(fmax(watts, 0) * 1000 + 0.5);
}

/* ---- configuration ---- */

static void set_device(Device *d, const char *key, const char *text) {
    double x = atof(text);
#define TEXT(field) if (!strcmp(key, #field)) { snprintf(d->field, sizeof d->field, "%.*s", (int)sizeof d->field - 1, text); return; }
#define NUMBER(field) if (!strcmp(key, #field)) { d->field = x; return; }
    TEXT(name) TEXT(uuid) TEXT(bus_id) TEXT(serial)
    NUMBER(hidden) NUMBER(field_average) NUMBER(field_instant) NUMBER(usage_is_average) NUMBER(quantum_mj)
    NUMBER(architecture) NUMBER(capability_major) NUMBER(capability_minor) NUMBER(persistence) NUMBER(compute_mode)
    NUMBER(memory_bytes) NUMBER(memory_used) NUMBER(power_limit) NUMBER(temperature)
    NUMBER(application_clock) NUMBER(customer_clock)
    NUMBER(idle) NUMBER(drift)
    NUMBER(sensor_period) NUMBER(sensor_window) NUMBER(sensor_scale)
    NUMBER(counter_start) NUMBER(counter_scale) NUMBER(counter_period) NUMBER(counter_phase) NUMBER(counter_latency)
    NUMBER(counter_jitter) NUMBER(blind) NUMBER(power_period) NUMBER(power_phase) NUMBER(average_window)
    NUMBER(noise.white) NUMBER(noise.correlated) NUMBER(noise.correlation_seconds) NUMBER(noise.seed)
    NUMBER(sensor_noise.white) NUMBER(sensor_noise.correlated) NUMBER(sensor_noise.correlation_seconds)
    NUMBER(sensor_noise.seed)
    fprintf(stderr, "fake NVML: unknown key %s\n", key);
    abort();
}

static void forget(void) {
    if (the.stage) munmap(the.stage, sizeof *the.stage);
    for (int d = 0; d < MAX_DEVICES; d++) {
        free(the.noise[d].value); free(the.noise[d].sum);
        free(the.sensor_noise[d].value); free(the.sensor_noise[d].sum);
        free(the.sensed[d].sum);
    }
    memset(&the, 0, sizeof the);
}

static int load(const char *path) {
    int users = the.users;
    forget();
    the.users = users;
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return DRIVER_NOT_LOADED;
    char line[512], key[64], value[400];
    int d = -1;
    the.noise_step = 0.005;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %399[^\n]", key, value) < 2) continue;
        if (!strcmp(key, "device")) the.devices = (d = atoi(value)) + 1;
        else if (d >= 0) set_device(&the.device[d], key, value);
        else if (!strcmp(key, "driver")) snprintf(the.driver, sizeof the.driver, "%.63s", value);
        else if (!strcmp(key, "call_seconds")) the.call_seconds = atof(value);
        else if (!strcmp(key, "noise_step")) the.noise_step = atof(value);
        else if (!strcmp(key, "error") && the.errors < MAX_ERRORS) {
            the.error[the.errors].times = -1;
            if (sscanf(value, "%63s %d %d", the.error[the.errors].function, &the.error[the.errors].code,
                       &the.error[the.errors].times) >= 2) the.errors++;
        } else if (!strcmp(key, "stage")) {
            int fd = open(value, O_RDWR | O_CLOEXEC);
            if (fd < 0) break;
            void *at = mmap(NULL, sizeof(Stage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            close(fd);
            the.stage = at == MAP_FAILED ? NULL : at;
        }
    }
    fclose(file);
    for (d = 0; d < the.devices; d++) the.noise[d].step = the.sensor_noise[d].step = the.noise_step;
    return the.stage ? SUCCESS : DRIVER_NOT_LOADED;
}

/* ---- for tests ---- */

int fake_nvml_load(void) { /* anew, whether or not somebody has initialised NVML */
    pthread_mutex_lock(&lock);
    int code = load(getenv("FAKE_NVML_CONFIG"));
    pthread_mutex_unlock(&lock);
    return code;
}

size_t fake_nvml_stage_bytes(void) { return sizeof(Stage); }

double fake_nvml_now(void) {
    return now();
}

void fake_nvml_advance(double seconds) {
    pthread_mutex_lock(&lock);
    if (the.stage->is_virtual) the.stage->virtual_now += seconds;
    pthread_mutex_unlock(&lock);
}

/* Append to the trace: from `time` on, `watts` above idle and rising by `slope`. 0, or -1 if not after the last point. */
int fake_nvml_point(int d, double time, double watts, double slope) {
    pthread_mutex_lock(&lock);
    Track *track = &the.stage->track[d];
    int64_t n = track->points;
    int code = n >= MAX_POINTS || (n && time < track->point[n - 1].time) ? -1 : 0;
    if (!code) {
        track->point[n] = (Point){time, watts, slope, n ? trace_joules(d, time) : 0};
        __atomic_store_n(&track->points, n + 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

int fake_nvml_fault(int d, int kind, double start, double end, double value) {
    pthread_mutex_lock(&lock);
    Track *track = &the.stage->track[d];
    int code = track->faults >= MAX_FAULTS ? -1 : 0;
    if (!code) {
        track->fault[track->faults] = (Fault){kind, start, end, value};
        __atomic_store_n(&track->faults, track->faults + 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

void fake_nvml_clear_faults(int d) { __atomic_store_n(&the.stage->track[d].faults, 0, __ATOMIC_RELEASE); }

long long fake_nvml_polls(int d) { return the.stage->track[d].polls; }

/* True joules between two times: everything, or only what is above idle. */
double fake_nvml_energy(int d, double start, double end, int above_idle) {
    pthread_mutex_lock(&lock);
    double joules = true_joules(d, end) - true_joules(d, start);
    if (above_idle) joules -= idle_joules(d, end) - idle_joules(d, start);
    pthread_mutex_unlock(&lock);
    return joules;
}

double fake_nvml_watts(int d, double t) {
    pthread_mutex_lock(&lock);
    double watts = true_watts(d, t);
    pthread_mutex_unlock(&lock);
    return watts;
}

/* ---- NVML: start and stop ---- */

static int ordered_error(const char *function) { /* a configured error; the name may leave out a version suffix */
    for (int i = 0; i < the.errors; i++)
        if (!strncmp(function, the.error[i].function, strlen(the.error[i].function)) && the.error[i].times) {
            if (the.error[i].times > 0) the.error[i].times--;
            return the.error[i].code;
        }
    return SUCCESS;
}

static int start(void) {
    pthread_mutex_lock(&lock);
    int code = the.users ? SUCCESS : load(getenv("FAKE_NVML_CONFIG"));
    if (!code) code = ordered_error("nvmlInit");
    if (!code) the.users++;
    pthread_mutex_unlock(&lock);
    return code;
}

int nvmlInit(void) { return start(); }
int nvmlInit_v2(void) { return start(); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return start(); }

int nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    int code = the.users ? SUCCESS : UNINITIALIZED;
    if (the.users) the.users--;
    pthread_mutex_unlock(&lock);
    return code;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case 10: return "Timeout";
    case FUNCTION_NOT_FOUND: return "Function Not Found";
    case GPU_IS_LOST: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

/* ---- NVML: system and enumeration. Handles are 1 + the device's number. ---- */

typedef void *Handle;

#define BEGIN(...)                                                   \
    pthread_mutex_lock(&lock);                                       \
    int code = the.users ? ordered_error(__func__) : UNINITIALIZED;  \
    if (!code) { pass(the.call_seconds); __VA_ARGS__ }               \
    pthread_mutex_unlock(&lock);                                     \
    return code;

static int number(Handle handle) {
    intptr_t d = (intptr_t)handle - 1;
    return d >= 0 && d < the.devices ? (int)d : -1;
}

/* A question about one device: `d` is its number; a device that fell off the bus answers nothing. */
#define ASK(...)                                        \
    BEGIN(                                              \
        int d = number(handle);                         \
        if (d < 0) code = INVALID_ARGUMENT;             \
        else if (fault_at(d, LOST, now())) code = GPU_IS_LOST; \
        else { const Device *device = &the.device[d]; (void)device; __VA_ARGS__ })

static int copy(char *to, unsigned length, const char *from) {
    if (strlen(from) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) { BEGIN(code = copy(text, length, the.driver);) }
int nvmlSystemGetNVMLVersion(char *text, unsigned length) { BEGIN(code = copy(text, length, "13.615.71");) }
int nvmlSystemGetCudaDriverVersion(int *version) { BEGIN(*version = 13000;) }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { BEGIN(*version = 13000;) }
int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length) { BEGIN((void)pid; code = copy(name, length, "foreign");) }

int nvmlDeviceGetCount(unsigned *count) {
    BEGIN(*count = 0; for (int d = 0; d < the.devices; d++) *count += !the.device[d].hidden;)
}
int nvmlDeviceGetCount_v2(unsigned *count) { return nvmlDeviceGetCount(count); }

int nvmlDeviceGetHandleByIndex(unsigned index, Handle *handle) {
    BEGIN(
        code = INVALID_ARGUMENT;
        for (int d = 0; d < the.devices && code; d++)
            if (!the.device[d].hidden && index-- == 0) {
                *handle = (Handle)(intptr_t)(d + 1);
                code = fault_at(d, LOST, now()) ? GPU_IS_LOST : SUCCESS;
            })
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle *handle) { return nvmlDeviceGetHandleByIndex(index, handle); }

static int find(const char *text, size_t field, Handle *handle) {
    for (int d = 0; d < the.devices; d++)
        if (!the.device[d].hidden && !strcasecmp(text, (const char *)&the.device[d] + field)) {
            *handle = (Handle)(intptr_t)(d + 1);
            return SUCCESS;
        }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Handle *handle) { BEGIN(code = find(uuid, offsetof(Device, uuid), handle);) }
int nvmlDeviceGetHandleBySerial(const char *serial, Handle *handle) { BEGIN(code = find(serial, offsetof(Device, serial), handle);) }
int nvmlDeviceGetHandleByPciBusId(const char *id, Handle *handle) { BEGIN(code = find(id, offsetof(Device, bus_id), handle);) }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, Handle *handle) { return nvmlDeviceGetHandleByPciBusId(id, handle); }

int nvmlDeviceGetIndex(Handle handle, unsigned *index) {
    ASK(*index = 0; for (int i = 0; i < d; i++) *index += !the.device[i].hidden;)
}
int nvmlDeviceGetMinorNumber(Handle handle, unsigned *minor) { ASK(*minor = d;) }
int nvmlDeviceGetName(Handle handle, char *text, unsigned length) { ASK(code = copy(text, length, device->name);) }
int nvmlDeviceGetUUID(Handle handle, char *text, unsigned length) { ASK(code = copy(text, length, device->uuid);) }
int nvmlDeviceGetSerial(Handle handle, char *text, unsigned length) { ASK(code = copy(text, length, device->serial);) }
int nvmlDeviceGetVbiosVersion(Handle handle, char *text, unsigned length) { ASK(code = copy(text, length, "00.00.00.00.00");) }
int nvmlDeviceGetBoardPartNumber(Handle handle, char *text, unsigned length) { ASK(code = copy(text, length, "000-00000-0000-000");) }

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} PciInfo;
int nvmlDeviceGetPciInfo_v3(Handle handle, PciInfo *info) {
    ASK(memset(info, 0, sizeof *info); snprintf(info->bus_id, sizeof info->bus_id, "%s", device->bus_id);
        snprintf(info->legacy, sizeof info->legacy, "%s", device->bus_id + 4); info->bus = d; info->pci_device_id = 0x10de;)
}
int nvmlDeviceGetPciInfo_v2(Handle handle, PciInfo *info) { return nvmlDeviceGetPciInfo_v3(handle, info); }

int nvmlDeviceGetArchitecture(Handle handle, unsigned *architecture) { ASK(*architecture = device->architecture;) }
int nvmlDeviceGetCudaComputeCapability(Handle handle, int *major, int *minor) {
    ASK(*major = device->capability_major; *minor = device->capability_minor;)
}
int nvmlDeviceGetBrand(Handle handle, unsigned *brand) { ASK(*brand = 0;) }
int nvmlDeviceGetNumGpuCores(Handle handle, unsigned *cores) { ASK(*cores = 6912;) }

/* ---- NVML: energy and power ---- */

int nvmlDeviceGetTotalEnergyConsumption(Handle handle, unsigned long long *millijoules) { ASK(code = read_counter(d, millijoules);) }
int nvmlDeviceGetPowerUsage(Handle handle, unsigned *milliwatts) { ASK(*milliwatts = read_power(d, device->usage_is_average);) }

typedef struct {
    unsigned field, scope;
    int64_t timestamp, latency;
    unsigned type;
    int code;
    union { unsigned ui; unsigned long long ull; } value;
} FieldValue;
enum { FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, TYPE_UNSIGNED = 1, TYPE_ULL = 3 };

int nvmlDeviceGetFieldValues(Handle handle, int count, FieldValue *values) {
    ASK(
        struct timespec wall;
        clock_gettime(CLOCK_REALTIME, &wall);
        for (int i = 0; i < count; i++) {
            FieldValue *v = &values[i];
            v->timestamp = wall.tv_sec * 1000000ll + wall.tv_nsec / 1000;
            v->latency = 0;
            v->code = NOT_SUPPORTED;
            if (v->field == FIELD_ENERGY) {
                v->type = TYPE_ULL;
                v->code = read_counter(d, &v->value.ull);
            } else if ((v->field == FIELD_POWER_AVERAGE && device->field_average && v->scope == 0) ||
                       (v->field == FIELD_POWER_INSTANT && device->field_instant && v->scope == 0)) {
                v->type = TYPE_UNSIGNED;
                v->code = SUCCESS;
                v->value.ui = read_power(d, v->field == FIELD_POWER_AVERAGE);
            }
        })
}

static unsigned limit_milliwatts(int d) {
    const Fault *fault = fault_at(d, POWER_LIMIT, now());
    return (unsigned)(1000 * (fault ? fault->value : the.device[d].power_limit));
}
int nvmlDeviceGetEnforcedPowerLimit(Handle handle, unsigned *limit) { ASK(*limit = limit_milliwatts(d);) }
int nvmlDeviceGetPowerManagementLimit(Handle handle, unsigned *limit) { ASK(*limit = limit_milliwatts(d);) }
int nvmlDeviceGetPowerManagementDefaultLimit(Handle handle, unsigned *limit) { ASK(*limit = (unsigned)(1000 * device->power_limit);) }
int nvmlDeviceGetPowerManagementLimitConstraints(Handle handle, unsigned *low, unsigned *high) {
    ASK(*low = 100000; *high = (unsigned)(1000 * device->power_limit);)
}
int nvmlDeviceGetPowerManagementMode(Handle handle, unsigned *mode) { ASK(*mode = 1;) }

/* ---- NVML: state ---- */

static unsigned degrees(int d) {
    const Fault *fault = fault_at(d, TEMPERATURE, now());
    return (unsigned)(fault ? fault->value : the.device[d].temperature);
}
int nvmlDeviceGetTemperature(Handle handle, unsigned sensor, unsigned *celsius) { ASK((void)sensor; *celsius = degrees(d);) }
typedef struct { unsigned version, sensor; int celsius; } Temperature;
int nvmlDeviceGetTemperatureV(Handle handle, Temperature *t) { ASK(t->celsius = (int)degrees(d);) }
int nvmlDeviceGetTemperatureThreshold(Handle handle, unsigned which, unsigned *celsius) { ASK((void)which; *celsius = 90;) }

static unsigned megahertz(int d, unsigned type) { /* 0 graphics, 1 SM, 2 memory, 3 video */
    const Fault *fault = fault_at(d, SM_CLOCK, now());
    if (type == 2) return 1512;
    return fault ? (unsigned)fault->value : 1410;
}
int nvmlDeviceGetClockInfo(Handle handle, unsigned type, unsigned *mhz) { ASK(*mhz = megahertz(d, type);) }
int nvmlDeviceGetClock(Handle handle, unsigned type, unsigned id, unsigned *mhz) { ASK((void)id; *mhz = megahertz(d, type);) }
int nvmlDeviceGetMaxClockInfo(Handle handle, unsigned type, unsigned *mhz) { ASK(*mhz = type == 2 ? 1512 : 1410;) }
int nvmlDeviceGetApplicationsClock(Handle handle, unsigned type, unsigned *mhz) { ASK(*mhz = type == 2 ? 1512 : device->application_clock;) }
int nvmlDeviceGetDefaultApplicationsClock(Handle handle, unsigned type, unsigned *mhz) { ASK(*mhz = type == 2 ? 1512 : 1275;) }
int nvmlDeviceGetMaxCustomerBoostClock(Handle handle, unsigned type, unsigned *mhz) { ASK(*mhz = type == 2 ? 1512 : device->customer_clock;) }

static int clock_list(unsigned *count, unsigned *mhz, unsigned only) {
    if (*count < 1 || !mhz) { *count = 1; return INSUFFICIENT_SIZE; }
    *count = 1;
    mhz[0] = only;
    return SUCCESS;
}
int nvmlDeviceGetSupportedMemoryClocks(Handle handle, unsigned *count, unsigned *mhz) { ASK(code = clock_list(count, mhz, 1512);) }
int nvmlDeviceGetSupportedGraphicsClocks(Handle handle, unsigned memory, unsigned *count, unsigned *mhz) {
    ASK((void)memory; code = clock_list(count, mhz, 1410);)
}

static unsigned long long reasons(int d) {
    const Fault *fault = fault_at(d, THROTTLE, now());
    return fault ? (unsigned long long)fault->value : trace_watts(d, now()) > 0 ? 0 : 1; /* 1: idle */
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Handle handle, unsigned long long *mask) { ASK(*mask = reasons(d);) }
int nvmlDeviceGetCurrentClocksEventReasons(Handle handle, unsigned long long *mask) { ASK(*mask = reasons(d);) }
int nvmlDeviceGetSupportedClocksThrottleReasons(Handle handle, unsigned long long *mask) { ASK(*mask = 0x1ff;) }
int nvmlDeviceGetSupportedClocksEventReasons(Handle handle, unsigned long long *mask) { ASK(*mask = 0x1ff;) }

typedef struct { unsigned gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(Handle handle, Utilization *u) { ASK(u->gpu = trace_watts(d, now()) > 0 ? 100 : 0; u->memory = u->gpu / 2;) }
typedef struct { unsigned long long total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Handle handle, Memory *m) {
    ASK(m->total = device->memory_bytes; m->used = device->memory_used; m->free = m->total - m->used;)
}
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory2;
int nvmlDeviceGetMemoryInfo_v2(Handle handle, Memory2 *m) {
    ASK(m->total = device->memory_bytes; m->reserved = 0; m->used = device->memory_used; m->free = m->total - m->used;)
}
int nvmlDeviceGetPerformanceState(Handle handle, unsigned *state) { ASK(*state = 0;) }
int nvmlDeviceGetPersistenceMode(Handle handle, unsigned *mode) { ASK(*mode = device->persistence;) }
int nvmlDeviceGetComputeMode(Handle handle, unsigned *mode) { ASK(*mode = device->compute_mode;) }
int nvmlDeviceGetEccMode(Handle handle, unsigned *current, unsigned *pending) { ASK(*current = *pending = 1;) }
int nvmlDeviceGetFanSpeed(Handle handle, unsigned *percent) { ASK((void)percent; code = NOT_SUPPORTED;) }
int nvmlDeviceGetMigMode(Handle handle, unsigned *current, unsigned *pending) { ASK(*current = *pending = fault_at(d, MIG, now()) != NULL;) }
int nvmlDeviceIsMigDeviceHandle(Handle handle, unsigned *is) { ASK(*is = 0;) }
int nvmlDeviceGetC2cModeInfoV(Handle handle, void *info) { ASK((void)info; code = NOT_SUPPORTED;) }
int nvmlDeviceGetCurrPcieLinkGeneration(Handle handle, unsigned *generation) { ASK(*generation = 4;) }
int nvmlDeviceGetMaxPcieLinkGeneration(Handle handle, unsigned *generation) { ASK(*generation = 4;) }
int nvmlDeviceGetCurrPcieLinkWidth(Handle handle, unsigned *lanes) { ASK(*lanes = 16;) }
int nvmlDeviceGetMaxPcieLinkWidth(Handle handle, unsigned *lanes) { ASK(*lanes = 16;) }

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } ProcessInfo;

static int list_processes(int d, unsigned *count, ProcessInfo *list) {
    const Track *track = &the.stage->track[d];
    unsigned found = 0, room = list ? *count : 0;
    for (int64_t i = 0; i < track->faults; i++) {
        const Fault *f = &track->fault[i];
        if (f->kind != PROCESS || now() < f->start || now() >= f->end) continue;
        if (found < room) list[found] = (ProcessInfo){(unsigned)f->value, 1ull << 30, ~0u, ~0u};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v2(Handle handle, unsigned *count, ProcessInfo *list) { ASK(code = list_processes(d, count, list);) }
int nvmlDeviceGetComputeRunningProcesses_v3(Handle handle, unsigned *count, ProcessInfo *list) { ASK(code = list_processes(d, count, list);) }
int nvmlDeviceGetComputeRunningProcesses(Handle handle, unsigned *count, ProcessInfo *list) { ASK(code = list_processes(d, count, list);) }
int nvmlDeviceGetGraphicsRunningProcesses_v2(Handle handle, unsigned *count, ProcessInfo *list) { ASK((void)list; *count = 0;) }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Handle handle, unsigned *count, ProcessInfo *list) { ASK((void)list; *count = 0;) }
int nvmlDeviceGetGraphicsRunningProcesses(Handle handle, unsigned *count, ProcessInfo *list) { ASK((void)list; *count = 0;) }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Handle handle, unsigned *count, ProcessInfo *list) { ASK((void)list; *count = 0;) }
