// Colours a grey image in memory and prints the colours of a pixel. With libhuetape.so and huetape.h in place:
//
//     cargo build --release -p huetape-capi
//     cc -I capi/include examples/c/colour_a_pixel.c -L target/release -lhuetape -o colour_a_pixel
//     LD_LIBRARY_PATH=target/release ./colour_a_pixel [grey | sar | WEIGHTS | RUN] [auto | cpu | gpu]

#include <huetape.h>
#include <stdio.h>

enum { SIDE = 48 };

int main(int count, char **arguments) {
    const char *weights = count > 1 ? arguments[1] : NULL;
    const char *device = count > 2 ? arguments[2] : NULL;
    HuetapeColorizer *colorizer = huetape_open(weights, device);
    if (!colorizer) {
        fprintf(stderr, "error: %s\n", huetape_last_error());
        return 2;
    }
    // A bright disc on a dark ground.
    static uint8_t grey[SIDE * SIDE], colours[SIDE * SIDE * 16];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            grey[y * SIDE + x] = (x - 24) * (x - 24) + (y - 24) * (y - 24) < 200 ? 180 : 60;
    size_t bands = huetape_bands(colorizer);
    if (bands > 16) return 2;
    HuetapeStatus status = huetape_colorize(colorizer, grey, SIDE, SIDE, 1, colours, SIDE * SIDE * bands);
    if (status != HUETAPE_STATUS_OK) {
        fprintf(stderr, "error: %s\n", huetape_last_error());
        huetape_close(colorizer);
        return status;
    }
    printf("huetape %s, %s: pixel (24, 24) of grey 180 becomes", huetape_version(), huetape_model(colorizer));
    for (size_t band = 0; band < bands; band++)
        printf(" %d", colours[(24 * SIDE + 24) * bands + band]);
    printf("\n");
    huetape_close(colorizer);
    return 0;
}
