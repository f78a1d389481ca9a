// libhuetape: colours 8-bit images by a trained network. Made by cbindgen of capi/src/lib.rs:
// HUETAPE_WRITE_HEADER=1 cargo test -p huetape-capi
//
// Functions may be called from several threads at once, with one colorizer too, but for huetape_close.
// None of them prints, exits or unwinds.

#ifndef HUETAPE_H
#define HUETAPE_H

#include <stddef.h>
#include <stdint.h>

// How a call ended.
typedef enum {
  // It did what it is for.
  HUETAPE_STATUS_OK = 0,
  // The work failed: memory, the device, a fault in the library.
  HUETAPE_STATUS_FAILED = 1,
  // An argument or a file is wrong.
  HUETAPE_STATUS_WRONG_INPUT = 2,
} HuetapeStatus;

// A network with its weights on a device.
typedef struct HuetapeColorizer HuetapeColorizer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, e.g. "0.1.0".
const char *huetape_version(void);

// What went wrong in the last call of this thread that failed, in one line of UTF-8: what, where, what to do. Empty
// where none has failed. The text is the library's, and stays until the next call of this thread that fails.
const char *huetape_last_error(void);

// Opens a network with its weights.
//
// `weights`: "grey" or "sar", which come along; the path of a weight file; the folder of a training run; NULL for
// "grey". `device`: "auto" (a GPU if there is one, else the CPU), "cpu", "gpu", "gpu:NAME"; NULL for what the variable
// HUETAPE_DEVICE says, else "auto". NULL comes back where it fails. Close it with huetape_close.
//
// # Safety
// Both are NULL or texts that end in a zero.
HuetapeColorizer *huetape_open(const char *weights,
                               const char *device);

// Colours an image of 8-bit samples, row by row without gaps, channels interleaved.
//
// `source`: width x height x channels samples: 1 channel is grey, 3 are sRGB, of which the network reads the
// lightness or the luma; of a network that reads several bands, all of them. It is prepared as the training prepared
// its images. `colours`: room for width x height x huetape_bands samples, which is `colours_bytes`; 3 bands are
// sRGB. It is written only where the call succeeds, and may be the same memory as `source`.
//
// # Safety
// `colorizer` comes from huetape_open and is not closed; the others lead to so many bytes.
HuetapeStatus huetape_colorize(const HuetapeColorizer *colorizer,
                               const uint8_t *source,
                               size_t width,
                               size_t height,
                               size_t channels,
                               uint8_t *colours,
                               size_t colours_bytes);

// Bands that the coloured image has, 3 for sRGB; 0 for NULL.
//
// # Safety
// As huetape_colorize.
size_t huetape_bands(const HuetapeColorizer *colorizer);

// The network's name, e.g. "colournet"; empty for NULL. The text is the colorizer's.
//
// # Safety
// As huetape_colorize.
const char *huetape_model(const HuetapeColorizer *colorizer);

// Closes a colorizer that no other thread is using. NULL is nothing to close.
//
// # Safety
// `colorizer` is NULL, or comes from huetape_open and is used no more.
void huetape_close(HuetapeColorizer *colorizer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HUETAPE_H */
