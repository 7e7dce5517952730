# The image of the steps and of the workers, with TensorFlow for CPUs or for NVIDIA GPUs.
# Built by docker/build.sh (`make images`).
#
# Its layers, and why each is there:
#   the base image                Python and the C library
#   /etc/passwd, set-uid bits     a name for the user; no program that changes the user, no installer
#   tensorflow (and nvidia)       half of the size; changes only with the version of TensorFlow
#   all other packages            changes only with the lock
#   kubert's own code             less than 2 MB; changes with most commits

ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
# cpu, or gpu: TensorFlow with CUDA libraries from NVIDIA's packages, so that no CUDA base image is
# needed. It finds them beside itself (DT_RUNPATH), and has NCCL inside. The driver comes from the node.
ARG DEVICE=cpu
COPY locks/train.txt locks/train-gpu.txt locks/executor.txt /locks/
# pip's settings are secrets of the build, so no layer has them. The one package that exists only as
# source is built with the setuptools of the lock. The environment has no pip: nothing is installed later.
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    case "$DEVICE" in cpu) lock=/locks/train.txt ;; gpu) lock=/locks/train-gpu.txt ;; *) echo "DEVICE=$DEVICE: cpu or gpu" >&2; exit 2 ;; esac \
 && export PIP_CONFIG_FILE=/run/secrets/pip PIP_DISABLE_PIP_VERSION_CHECK=1 \
 && sed -n '/^setuptools==/,/[^\\]$/p' "$lock" > /locks/builder.txt \
 && python3 -m venv --without-pip /opt/kubert \
 && for lock in /locks/builder.txt "$lock" /locks/executor.txt; do \
      python3 -m pip --python /opt/kubert/bin/python install --no-compile --no-deps --require-hashes \
        --only-binary :all: --no-binary promise --no-build-isolation --use-pep517 -r "$lock" || exit 1; \
    done
COPY docker/slim.py /docker/
RUN python3 /docker/slim.py /opt/kubert/lib/python3.11/site-packages
# The root file system is read-only at run time: without bytecode in the image, each process would
# compile all modules that it imports.
COPY docker/bytecode.py /docker/
RUN TF_USE_LEGACY_KERAS=1 _KFP_RUNTIME=true /opt/kubert/bin/python /docker/bytecode.py \
      tensorflow tensorflow_text tensorflow_hub tf_keras official.nlp.modeling.networks official.nlp.optimization tensorflow_serving.apis.predict_pb2 \
      tensorflow_datasets pyarrow.parquet safetensors.numpy tokenizers huggingface_hub jinja2 pydantic yaml rich.progress \
      google.cloud.storage botocore.session tenacity psutil aiohttp.web tensorboard.main kfp.dsl.executor_main
# Laid out layer by layer.
RUN site=opt/kubert/lib/python3.11/site-packages \
 && mkdir -p /layers/tensorflow/$site /layers/packages/opt \
 && for name in tensorflow nvidia; do if [ -d /$site/$name ]; then mv /$site/$name /layers/tensorflow/$site/; fi; done \
 && mv /opt/kubert /layers/packages/opt/
COPY components /layers/code/opt/kubert/lib/python3.11/site-packages/components
COPY LICENSE /layers/code/opt/kubert/
RUN chmod -R u=rwX,go=rX /layers \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /layers/code /layers/code

FROM ${BASE}
RUN echo 'kubert:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'kubert:x:10001:' >> /etc/group \
 && rm -rf /usr/local/lib/python3.11/site-packages/* /usr/lib/python3/dist-packages/* /usr/local/bin/pip* /usr/bin/pip* \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /layers/tensorflow /
COPY --from=build /layers/packages /
COPY --from=build /layers/code /

# HOME: the only writable directory when the root is read-only. _KFP_RUNTIME: kfp without its client
# and compiler. LD_LIBRARY_PATH: where GKE mounts the driver (libcuda.so.1 and its parts, no CUDA
# library); elsewhere the directory does not exist, and the container runtime registers the driver.
ENV PATH=/opt/kubert/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 _KFP_RUNTIME=true
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64
# By number, because Kubernetes (runAsNonRoot) cannot verify a name.
USER 10001:10001
WORKDIR /tmp
CMD ["python", "-m", "components.train", "--help"]

ARG BASE
ARG DEVICE=cpu
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kubert train ($DEVICE)" \
      org.opencontainers.image.description="The steps and workers of kubert: tokenize, train, evaluate, export" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="$BASE"
