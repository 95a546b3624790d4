/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * model48.c - the mixture layers of a model of 48 layers: 36 narrow ones and 12 wide ones.
 *
 *     what                      how many   why
 *     package, moec_layer       2          one per kind: equal layers have equal kernels
 *     moec_pool                 1          both kinds run on the same threads
 *     moec_weights, its buffer  48         the only thing that differs between equal layers
 *     workspace                 1          layers run one after another
 *
 *     model48 FILE              makes FILE, a checkpoint of random weights, if there is none, and loads every layer
 *     model48 FILE 'DIR/{l}'    maps every layer from a file that moec pack wrote, and compares its checksum
 *
 * Every layer's output is compared to plain loops in double.
 */
#define _POSIX_C_SOURCE 200809L
#include <narrow.h>
#include <wide.h>

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LAYERS = 48, T = 16, H = NARROW_HIDDEN, K = NARROW_TOP_K, MOST_EXPERTS = 8, MOST_INNER = 96 };

typedef struct kind {
  int experts, inner;
  moec_layer *layer;
} kind;

/* One layer's weights as the checkpoint has them. */
typedef struct plain {
  float router[MOST_EXPERTS * H];
  float gate[MOST_EXPERTS][MOST_INNER * H], up[MOST_EXPERTS][MOST_INNER * H], down[MOST_EXPERTS][H * MOST_INNER];
} plain;

static _Noreturn void give_up(const char *what, const char *why) {
  fprintf(stderr, "model48: %s: %s\n", what, why);
  exit(1);
}

static void check(moec_status status, const char *what) {
  char text[512];
  if (status == MOEC_OK)
    return;
  moec_last_error(text, sizeof text);
  give_up(what, text);
}

static void *allocate(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 4096, bytes) != 0)
    give_up("allocate", "no memory");
  return p;
}

static int is_wide(int layer) { return layer % 4 == 3; }

/* ---- the checkpoint --------------------------------------------------------------------------------------------- */

static void fill(float *data, int count, float deviation, uint64_t *state) { /* sums of two uniform numbers */
  for (int i = 0; i < count; ++i) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    data[i] = deviation * 2.4495f * ((float)(*state >> 40 & 0xfff) + (float)(*state >> 52) - 4095.0f) / 4096;
  }
}

static void make_layer(int layer, const kind *k, plain *out) {
  uint64_t state = (uint64_t)layer + 1;
  fill(out->router, k->experts * H, 0.3f, &state);
  for (int e = 0; e < k->experts; ++e) {
    fill(out->gate[e], k->inner * H, 0.125f, &state);
    fill(out->up[e], k->inner * H, 0.125f, &state);
    fill(out->down[e], H * k->inner, 0.05f, &state);
  }
}

/* Adds an entry to the header, or the data, of a safetensors file. */
static void put(FILE *header, FILE *data, size_t *at, int layer, const char *name, int rows, int columns,
                const float *values) {
  size_t bytes = (size_t)rows * (size_t)columns * sizeof(float);
  fprintf(header,
          "%s\"model.layers.%d.mlp.%s.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}",
          *at ? "," : "{", layer, name, rows, columns, *at, *at + bytes);
  fwrite(values, 1, bytes, data);
  *at += bytes;
}

static void write_checkpoint(const char *path, const kind kinds[2]) {
  char *header_text = NULL, *data_bytes = NULL;
  size_t header_length, data_length, at = 0;
  FILE *header = open_memstream(&header_text, &header_length), *data = open_memstream(&data_bytes, &data_length);
  plain *p = allocate(sizeof *p);
  for (int layer = 0; layer < LAYERS; ++layer) {
    const kind *k = &kinds[is_wide(layer)];
    make_layer(layer, k, p);
    put(header, data, &at, layer, "gate", k->experts, H, p->router);
    for (int e = 0; e < k->experts; ++e) {
      char name[64];
      snprintf(name, sizeof name, "experts.%d.gate_proj", e);
      put(header, data, &at, layer, name, k->inner, H, p->gate[e]);
      snprintf(name, sizeof name, "experts.%d.up_proj", e);
      put(header, data, &at, layer, name, k->inner, H, p->up[e]);
      snprintf(name, sizeof name, "experts.%d.down_proj", e);
      put(header, data, &at, layer, name, H, k->inner, p->down[e]);
    }
  }
  fprintf(header, "}");
  fclose(header);
  fclose(data);
  FILE *file = fopen(path, "wb");
  uint64_t length = header_length; /* little-endian, as every machine that moec runs on */
  if (!file || fwrite(&length, 1, 8, file) != 8 || fwrite(header_text, 1, header_length, file) != header_length ||
      fwrite(data_bytes, 1, data_length, file) != data_length || fclose(file) != 0)
    give_up(path, "cannot be written");
  free(header_text);
  free(data_bytes);
  free(p);
}

/* ---- the layers ------------------------------------------------------------------------------------------------- */

static moec_layer *create(const moec_package *package, moec_pool *pool) {
  moec_layer *layer;
  moec_layer_options options = {.struct_size = sizeof options, .pool = pool};
  check(moec_layer_create(package, &options, &layer), "create");
  return layer;
}

static moec_weights *load(const kind *k, const char *path, int layer) {
  moec_weights *weights;
  size_t bytes;
  char prefix[64];
  snprintf(prefix, sizeof prefix, "model.layers.%d.", layer);
  check(moec_layer_weights_bytes(k->layer, &bytes), prefix);
  check(moec_weights_load(k->layer, path, prefix, allocate(bytes), bytes, &weights), prefix);
  return weights;
}

/* Nothing is copied: the kernel reads the file's pages when the first call touches them, or here for the checksum. */
static moec_weights *map(const kind *k, const char *pattern, int layer) {
  char path[4096];
  const char *mark = strstr(pattern, "{l}");
  struct stat info;
  moec_weights *weights;
  if (!mark)
    give_up(pattern, "holds no {l}");
  snprintf(path, sizeof path, "%.*s%d%s", (int)(mark - pattern), pattern, layer, mark + 3);
  int file = open(path, O_RDONLY);
  if (file < 0 || fstat(file, &info) != 0)
    give_up(path, "cannot be opened");
  void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (bytes == MAP_FAILED)
    give_up(path, "cannot be mapped");
  check(moec_weights_map(k->layer, bytes, (size_t)info.st_size, MOEC_MAP_VERIFY, &weights), path);
  return weights;
}

/* ---- the same in plain loops ------------------------------------------------------------------------------------ */

static double dot(const float *row, const double *x, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i)
    sum += (double)row[i] * x[i];
  return sum;
}

/* y += the layer's output for one token. */
static void plain_token(const kind *k, const plain *p, const double *x, double *y) {
  double z[MOST_EXPERTS], h[MOST_INNER], total = 0;
  int ids[K];
  for (int e = 0; e < k->experts; ++e)
    z[e] = exp(dot(p->router + e * H, x, H));
  for (int j = 0; j < K; ++j) {
    int best = -1;
    for (int e = 0; e < k->experts; ++e)
      if ((j == 0 || e != ids[0]) && (best < 0 || z[e] > z[best]))
        best = e;
    ids[j] = best;
    total += z[best];
  }
  for (int j = 0; j < K; ++j) {
    int e = ids[j];
    for (int i = 0; i < k->inner; ++i) {
      double a = dot(p->gate[e] + i * H, x, H);
      h[i] = a / (1 + exp(-a)) * dot(p->up[e] + i * H, x, H);
    }
    for (int o = 0; o < H; ++o)
      y[o] += z[e] / total * dot(p->down[e] + o * k->inner, h, k->inner);
  }
}

/* Largest difference from the loops, relative to the largest number. */
static double compare(const kind *k, int layer, const float *x, const float *y, plain *p) {
  double worst = 0, largest = 0;
  make_layer(layer, k, p);
  for (int t = 0; t < T; ++t) {
    double in[H], out[H] = {0};
    for (int i = 0; i < H; ++i)
      in[i] = (double)x[t * H + i];
    plain_token(k, p, in, out);
    for (int i = 0; i < H; ++i) {
      worst = fmax(worst, fabs(out[i] - (double)y[t * H + i]));
      largest = fmax(largest, fabs(out[i]));
    }
  }
  return worst / largest;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3)
    give_up("usage", "model48 FILE [PACKED]");

  moec_pool *pool; /* of 4 threads, whatever the number of layers; on_thread_start is the place to pin them */
  moec_pool_options options = {.struct_size = sizeof options, .threads = 4};
  check(moec_pool_create(&options, &pool), "pool");
  kind kinds[2] = {{8, 32, create(narrow_package(), pool)}, {4, 96, create(wide_package(), pool)}};

  if (access(argv[1], F_OK) != 0)
    write_checkpoint(argv[1], kinds);
  moec_weights *weights[LAYERS];
  for (int layer = 0; layer < LAYERS; ++layer) {
    const kind *k = &kinds[is_wide(layer)];
    weights[layer] = argc > 2 ? map(k, argv[2], layer) : load(k, argv[1], layer);
  }

  size_t workspace_bytes = 0;
  for (int i = 0; i < 2; ++i) {
    size_t bytes;
    check(moec_layer_workspace_bytes(kinds[i].layer, T, &bytes), "workspace");
    workspace_bytes = bytes > workspace_bytes ? bytes : workspace_bytes;
  }
  void *workspace = allocate(workspace_bytes);
  float *x = allocate(T * H * sizeof *x), *y = allocate(T * H * sizeof *y);
  plain *p = allocate(sizeof *p);
  uint64_t state = 7;
  double worst = 0;
  fill(x, T * H, 1, &state);
  for (int layer = 0; layer < LAYERS; ++layer) { /* attention and norms would stand here, too */
    const kind *k = &kinds[is_wide(layer)];
    moec_forward_args args = {.struct_size = sizeof args,
                              .num_tokens = T,
                              .x = x,
                              .y = y,
                              .workspace = workspace,
                              .workspace_bytes = workspace_bytes};
    check(moec_layer_forward(k->layer, weights[layer], &args), "forward");
    worst = fmax(worst, compare(k, layer, x, y, p));
    for (int i = 0; i < T * H; ++i)
      x[i] += y[i];
  }
  printf("48 layers, 2 packages, 1 pool of 4 threads: largest relative difference from plain loops %.1e\n", worst);

  for (int layer = 0; layer < LAYERS; ++layer)
    moec_weights_destroy(weights[layer]);
  for (int i = 0; i < 2; ++i)
    moec_layer_destroy(kinds[i].layer);
  moec_pool_destroy(pool);
  return worst < 1e-5 ? 0 : 1; /* the system takes back what was allocated and mapped */
}
