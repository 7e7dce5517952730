/* A stand-in for NVIDIA's libcuda.so.1: what kubert asks of the driver, without a GPU.

   STAND_IN_GPUS: number of GPUs of the machine. STAND_IN_CAPABILITY: their compute capability times
   ten (120 for 12.0). STAND_IN_CUDA: cuDriverGetVersion. STAND_IN_INIT: cuInit's answer; -1: crash.
   CUDA_VISIBLE_DEVICES hides GPUs as the real driver does: a list of indices, or of GPU-<index>,
   that ends at the first one that does not exist, and that is empty if it has one twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_number(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}

static int read_index(const char *entry, int gpus) {
  char *end;
  if (strncmp(entry, "GPU-", 4) == 0) entry += 4;
  long index = strtol(entry, &end, 10);
  return end != entry && index >= 0 && index < gpus ? (int)index : -1;
}

static int list_visible(int *indices) {
  int gpus = read_number("STAND_IN_GPUS", 1), count = 0;
  const char *mask = getenv("CUDA_VISIBLE_DEVICES");
  if (!mask) {
    for (; count < gpus; count++) indices[count] = count;
    return count;
  }
  char copy[256], *rest = copy;
  snprintf(copy, sizeof copy, "%s", mask);
  for (char *entry = strsep(&rest, ","); entry; entry = strsep(&rest, ",")) {
    int index = read_index(entry, gpus);
    if (index < 0) break;
    for (int i = 0; i < count; i++)
      if (indices[i] == index) return 0;
    indices[count++] = index;
  }
  return count;
}

int cuInit(unsigned flags) {
  int code = read_number("STAND_IN_INIT", 0), indices[64];
  if (code < 0) abort();
  return code ? code : (list_visible(indices) ? 0 : 100);
}

int cuDriverGetVersion(int *version) {
  *version = read_number("STAND_IN_CUDA", 12040);
  return 0;
}

int cuDeviceGetCount(int *count) {
  int indices[64];
  *count = list_visible(indices);
  return 0;
}

int cuDeviceGet(int *device, int ordinal) {
  int indices[64], count = list_visible(indices);
  if (ordinal >= count) return 101;
  *device = indices[ordinal];
  return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, length, "Stand-in %d", device);
  return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  *bytes = (size_t)24 << 30;
  return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  int capability = read_number("STAND_IN_CAPABILITY", 89);
  *value = attribute == 75 ? capability / 10 : capability % 10;
  return 0;
}

int cuGetErrorName(int code, const char **text) {
  *text = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : NULL;
  return *text ? 0 : 1;
}

int cuGetErrorString(int code, const char **text) {
  *text = code == 100   ? "no CUDA-capable device is detected"
          : code == 803 ? "system has unsupported display driver / cuda driver combination"
                        : NULL;
  return *text ? 0 : 1;
}
