// A driver for tests where there is none: notes every call, hands out numbers for handles, and fails where it is asked
// to (FAKE_FAIL names a call, FAKE_STATUS is what it returns). Compiled with -DCALLS=..., one X(name) for each call that
// has nothing to give.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int note(const char *call) {
  printf("%s\n", call);
  fflush(stdout);
  const char *fail = getenv("FAKE_FAIL");
  return fail && !strcmp(fail, call) ? atoi(getenv("FAKE_STATUS")) : 0;
}

static long next = 0x1000;
static int make(const char *call, long *out) {
  int status = note(call);
  if (status == 0) *out = next += 0x1000;
  return status;
}

#define X(name) int name(void) { return note(#name); }
CALLS
#undef X

int cuGetErrorName(int status, const char **text) {
  *text = status == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : status == 218 ? "CUDA_ERROR_INVALID_PTX" : 0;
  return *text ? 0 : 1;
}
int cuGetErrorString(int status, const char **text) {
  *text = status == 2 ? "out of memory" : status == 218 ? "a PTX JIT compilation failed" : 0;
  return *text ? 0 : 1;
}
int cuDeviceGet(int *device, int index) { return *device = 7, note("cuDeviceGet"); }
int cuMemGetInfo_v2(long *unused, long *total) { return *unused = 3L << 20, *total = 80L << 20, note("cuMemGetInfo_v2"); }
int cuCtxGetCurrent(long *context) { return *context = 0, note("cuCtxGetCurrent"); }
int cuDevicePrimaryCtxRetain(long *out, int device) { return make("cuDevicePrimaryCtxRetain", out); }
int cuStreamCreateWithPriority(long *out, unsigned flags, int priority) { return make("cuStreamCreateWithPriority", out); }
int cuEventCreate(long *out, unsigned flags) { return make("cuEventCreate", out); }
int cuMemAlloc_v2(long *out, unsigned long bytes) { return make("cuMemAlloc_v2", out); }
int cuStreamEndCapture(long stream, long *out) { return make("cuStreamEndCapture", out); }
int cuModuleLoadDataEx(long *out, const char *ptx, unsigned count, const int *options, void **values) {
  int status = make("cuModuleLoadDataEx", out);
  if (status && count == 2 && options[0] == 5 && options[1] == 6 && (long)values[1] > 64)
    snprintf(values[0], (long)values[1], "line 3; %s: unknown", ptx);
  return status;
}
