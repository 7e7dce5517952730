# The image of the launcher, which runs training as a JobSet, and of the puller. No TensorFlow.
# Built by docker/build.sh (`make images`).
#
# Its layers, and why each is there:
#   the base image                Python and the C library
#   /etc/passwd, set-uid bits     a name for the user; no program that changes the user, no installer
#   packages                      the clients of Kubernetes and of object stores; changes only with the lock
#   kubert's own code             less than 1 MB

ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
COPY locks/tools.txt locks/executor.txt /locks/
# pip's settings are secrets of the build, so no layer has them. The environment has no pip: nothing is
# installed later.
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    export PIP_CONFIG_FILE=/run/secrets/pip PIP_DISABLE_PIP_VERSION_CHECK=1 \
 && python3 -m venv --without-pip /opt/kubert \
 && python3 -m pip --python /opt/kubert/bin/python install --no-compile --no-deps --require-hashes --only-binary :all: \
      -r /locks/tools.txt -r /locks/executor.txt
COPY docker/slim.py /docker/
RUN python3 /docker/slim.py /opt/kubert/lib/python3.11/site-packages
# The root file system is read-only at run time: without bytecode in the image, each process would
# compile all modules that it imports.
COPY docker/bytecode.py /docker/
RUN _KFP_RUNTIME=true /opt/kubert/bin/python /docker/bytecode.py \
      kubernetes.client kubernetes.config google.cloud.storage botocore.session pydantic yaml rich.progress tenacity psutil kfp.dsl.executor_main \
 && mkdir -p /layers/packages/opt && mv /opt/kubert /layers/packages/opt/
# The packages of kubert that these two import, and no other step.
COPY components/*.py /layers/code/opt/kubert/lib/python3.11/site-packages/components/
COPY components/config /layers/code/opt/kubert/lib/python3.11/site-packages/components/config
COPY components/storage /layers/code/opt/kubert/lib/python3.11/site-packages/components/storage
COPY components/gpu /layers/code/opt/kubert/lib/python3.11/site-packages/components/gpu
COPY components/data /layers/code/opt/kubert/lib/python3.11/site-packages/components/data
COPY components/artifacts /layers/code/opt/kubert/lib/python3.11/site-packages/components/artifacts
COPY components/registry /layers/code/opt/kubert/lib/python3.11/site-packages/components/registry
COPY components/workers /layers/code/opt/kubert/lib/python3.11/site-packages/components/workers
COPY components/train /layers/code/opt/kubert/lib/python3.11/site-packages/components/train
COPY components/serving /layers/code/opt/kubert/lib/python3.11/site-packages/components/serving
COPY LICENSE /layers/code/opt/kubert/
RUN chmod -R u=rwX,go=rX /layers \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /layers/code /layers/code

FROM ${BASE}
RUN echo 'kubert:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'kubert:x:10001:' >> /etc/group \
 && rm -rf /usr/local/lib/python3.11/site-packages/* /usr/lib/python3/dist-packages/* /usr/local/bin/pip* /usr/bin/pip* \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /layers/packages /
COPY --from=build /layers/code /

# HOME: the only writable directory when the root is read-only. _KFP_RUNTIME: kfp without its client
# and compiler.
ENV PATH=/opt/kubert/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 _KFP_RUNTIME=true
# By number, because Kubernetes (runAsNonRoot) cannot verify a name.
USER 10001:10001
WORKDIR /tmp
CMD ["python", "-m", "components.train", "--help"]

ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kubert tools" \
      org.opencontainers.image.description="Launcher and puller of kubert" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="$BASE"
