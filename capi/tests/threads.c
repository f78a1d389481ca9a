// What a host may do to the library: threads that share a network, errors of each thread's own, arguments that are wrong.
// Ends with 0, or says what did not hold.

#include <huetape.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 24, BYTES = SIDE * SIDE * 3, THREADS = 3 };

#define HOLDS(what)                                                                      \
    do {                                                                                 \
        if (!(what)) {                                                                   \
            fprintf(stderr, "line %d: not so: %s (%s)\n", __LINE__, #what, huetape_last_error()); \
            return 1;                                                                    \
        }                                                                                \
    } while (0)

static HuetapeColorizer *colorizer;
static uint8_t grey[SIDE * SIDE];
static uint8_t colours[THREADS][BYTES];

static int work(int thread) {
    HOLDS(strcmp(huetape_last_error(), "") == 0);
    HOLDS(huetape_colorize(colorizer, grey, SIDE, SIDE, 1, colours[thread], BYTES - 1) == HUETAPE_STATUS_WRONG_INPUT);
    HOLDS(strstr(huetape_last_error(), "colours_bytes 1727: use 1728"));
    HOLDS(huetape_colorize(colorizer, grey, SIDE, SIDE, 1, colours[thread], BYTES) == HUETAPE_STATUS_OK);
    return 0;
}

static void *start(void *thread) {
    return work((int)(size_t)thread) ? (void *)1 : NULL;
}

int main(void) {
    HOLDS(huetape_open("no such weights", "cpu") == NULL);
    HOLDS(strstr(huetape_last_error(), "no such weights"));
    HOLDS(huetape_colorize(NULL, grey, SIDE, SIDE, 1, colours[0], BYTES) == HUETAPE_STATUS_WRONG_INPUT);
    HOLDS(huetape_bands(NULL) == 0 && huetape_model(NULL)[0] == 0);
    huetape_close(NULL);

    colorizer = huetape_open("grey", "cpu");
    HOLDS(colorizer);
    HOLDS(strcmp(huetape_model(colorizer), "colournet") == 0 && huetape_bands(colorizer) == 3);
    for (int i = 0; i < SIDE * SIDE; i++) grey[i] = (uint8_t)(i * 7);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) HOLDS(pthread_create(&threads[i], NULL, start, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        HOLDS(pthread_join(threads[i], &failed) == 0 && !failed);
        HOLDS(memcmp(colours[i], colours[0], BYTES) == 0);
    }
    // In place, from three equal channels.
    static uint8_t image[BYTES];
    for (int i = 0; i < BYTES; i++) image[i] = grey[i / 3];
    HOLDS(huetape_colorize(colorizer, image, SIDE, SIDE, 3, image, BYTES) == HUETAPE_STATUS_OK);
    HOLDS(memcmp(image, colours[0], BYTES) == 0);
    huetape_close(colorizer);
    return 0;
}
