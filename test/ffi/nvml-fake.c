// An NVML with one GPU whose sensors show known values; with FAKE_BARE, it has none of the optional ones.
#include <stdlib.h>
#include <string.h>

struct utilization { unsigned gpu, memory; };
struct memory { unsigned long long total, free, used; };
struct field { unsigned id, scope; long long timestamp, latency; int type, status; unsigned long long value; };

static int bare(void) { return getenv("FAKE_BARE") ? 3 : 0; }

int nvmlInit_v2(void) { return 0; }
const char *nvmlErrorString(int status) { return status == 6 ? "Not Found" : "Not Supported"; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { strncpy(out, "580.0", size); return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
  if (strcmp(uuid, "GPU-1")) return 6;
  *out = (void *)0x1234;
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *d, struct memory *m) {
  m->total = 80ull << 30, m->free = 70ull << 30, m->used = 10ull << 30;
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *count, void *p) { *count = 0; return 0; }
int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned size) { return 6; }
int nvmlDeviceGetUtilizationRates(void *d, struct utilization *u) { u->gpu = 75, u->memory = 30; return 0; }
int nvmlDeviceGetDecoderUtilization(void *d, unsigned *share, unsigned *period) { *share = 99, *period = 167000; return 0; }
int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { *mw = 350500; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *mj) {
  static unsigned long long energy = 5000000000ull;
  *mj = energy += 7000;
  return bare();
}
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *t) { *t = sensor == 0 ? 54 : 0; return 0; }
int nvmlDeviceGetClockInfo(void *d, int type, unsigned *mhz) { *mhz = type == 1 ? 1980 : type == 2 ? 2619 : 0; return 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *r) { *r = 4 | 32; return 0; }
int nvmlDeviceGetPcieThroughput(void *d, int counter, unsigned *kb) { *kb = counter == 0 ? 1000 : 2000; return bare(); }
int nvmlDeviceGetFieldValues(void *d, int count, struct field *f) {
  for (int i = 0; i < count; i++) {
    f[i].status = f[i].scope == ~0u ? bare() : 2;
    f[i].value = f[i].id == 138 ? 11 : f[i].id == 139 ? 22 : 0;
  }
  return 0;
}
