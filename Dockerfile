# huetape for the CPU in an empty image:
#
#     docker build -t huetape .
#     docker run --rm -v "$PWD:/work" -w /work huetape colorize photo.jpg
#
# For a GPU, put the program of tools/release into an image with the driver's Vulkan part.
FROM rust:1.95-slim AS build
WORKDIR /huetape
COPY . .
RUN cp "$(tools/static-program cli,formats,weights)" /program

FROM scratch
COPY --from=build /program /huetape
# Where files are begun that have no folder of their own yet.
ENV TMPDIR=/
ENTRYPOINT ["/huetape"]
CMD ["--help"]
