# The package of `make package` as a container image, for those who deploy functions as images. Its command is a handler.
#
#     make package STAGE=dev ARCH=arm64 && docker build --platform linux/arm64 --tag highwater .
#
# It holds the bytes of the zips and nothing beside AWS's base image, whose Python is the package's. The tag is pinned,
# its digest is not: AWS mends the image under its tag, as it does Lambda's own runtime. Another function of the same
# image has another command: app.app (the API), app.capture, app.rollup, app.fan_out, app.tick, app.redrive,
# app.authorize.
ARG PYTHON=3.11

FROM public.ecr.aws/lambda/python:${PYTHON} AS unzipped
WORKDIR /unzipped
COPY out/*.zip ./
# An image has no layers: what the zips keep apart stands together. Lambda runs it as a user who owns none of it.
RUN python3 -m zipfile -e deployment.zip task/ \
    && if [ -f sketches.zip ]; then python3 -m zipfile -e sketches.zip layer/ && cp -R layer/python/. task/; fi \
    && chmod -R a+rX task
# A package of another architecture, or for another Python, ends here.
WORKDIR /unzipped/task
RUN python3 -c "import msgspec, orjson, xxhash, zstandard"

FROM public.ecr.aws/lambda/python:${PYTHON}
COPY --from=unzipped /unzipped/task/ ${LAMBDA_TASK_ROOT}/
CMD ["app.ingest"]
