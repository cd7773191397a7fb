"""What stack.yaml says of a Kubernetes cluster, where the stack runs on one. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ops.stack.value_types import DiskSize
from ops.stack.yaml_model import Form, Keys

ContextName = Annotated[str, Field(pattern=r"^[\x21-\x7e]{0,253}$"), Form("the name of a context, or empty")]
ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), Form("lower-case letters, digits and dashes, at most 63")
]  # fmt: skip
ClassName = Annotated[
    str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"), Form("the name of a StorageClass, or empty")
]  # fmt: skip
RegistryName = Annotated[
    str, Field(pattern=r"^([a-z0-9]([a-z0-9.:/_-]{0,251}[a-z0-9])?)?$"), Form("a registry such as registry.example.com/shop")
]  # fmt: skip


class Kubernetes(Keys):
    context: ContextName = Field(
        default="",
        description="Context of the kubeconfig file (the variable KUBECONFIG, or ~/.kube/config); empty: its current one.",
    )  # fmt: skip
    namespace: ObjectName = Field(
        default="cc03",
        description="Namespace of the stack. An administrator of the cluster creates it (docs/how-to/cluster.md).",
    )  # fmt: skip
    registry: RegistryName = Field(
        default="", description="Registry that the nodes pull images from, as `inv images.push` writes to it; empty: the nodes "
        "have the images already.",
    )  # fmt: skip
    storageClass: ClassName = Field(
        default="", description="StorageClass of all volumes; empty: the cluster's default one.",
    )  # fmt: skip
    storage: dict[ObjectName, DiskSize] = Field(
        default={}, description="Size of that volume when it is created; 10g for those that are not named here.",
    )  # fmt: skip
    expose: Literal["LoadBalancer", "NodePort", "ClusterIP"] = Field(
        default="LoadBalancer", description="Type of the Service of nginx, which users reach the site through.",
    )  # fmt: skip


class Engine(Keys):
    kubernetes: Kubernetes | None = Field(
        default=None, description="Runs the stack on a Kubernetes cluster (docs/how-to/cluster.md); without it, Podman runs it "
        "on this host.",
    )  # fmt: skip
