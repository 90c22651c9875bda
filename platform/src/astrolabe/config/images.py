"""The settings section ``images``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from astrolabe.config.sections import Section

__all__ = ["ImageSettings"]


class ImageSettings(Section):
    """Images and what is made of them."""

    s3_endpoint: str | None = Field(
        None, description="Address of the object store of s3:// files; default that of AWS."
    )
    s3_region: str | None = Field(None, description="Region of the object store.")
    s3_access_key: SecretStr | None = Field(
        None, description="Access key of the object store; without one requests are not signed."
    )
    s3_secret_key: SecretStr | None = Field(
        None, description="Secret key of the object store; only from the environment."
    )
    tile_cache_mb: Annotated[int, Field(ge=0)] = Field(
        128, description="Memory of a process for decompressed tiles of images (MB)."
    )
    open_images: Annotated[int, Field(ge=1)] = Field(
        1024, description="Images whose headers and indexes a process keeps in memory."
    )
    sync_seconds: Annotated[int, Field(ge=1)] = Field(
        60, description="Time limit of a sync cutout (s)."
    )
    sync_mpix: Annotated[float, Field(gt=0)] = Field(
        100.0, description="Largest sync cutout, all planes together (million pixels)."
    )
    job_mpix: Annotated[float, Field(gt=0)] = Field(
        20_000.0, description="Most pixels that one job cuts out or resamples (million)."
    )
    job_cutouts: Annotated[int, Field(ge=1)] = Field(
        1_000, description="Most results of a job: identifiers times stencils."
    )
    job_stamps: Annotated[int, Field(ge=1)] = Field(
        100_000, description="Most stamps of a job around a table of positions."
    )
    mosaic_mpix: Annotated[float, Field(gt=0)] = Field(
        64.0, description="Largest mosaic or coadd (million pixels)."
    )
    mosaic_images: Annotated[int, Field(ge=1)] = Field(
        2_000, description="Most images that one mosaic or coadd is made of."
    )
    links_ids: Annotated[int, Field(ge=1)] = Field(
        10_000, description="Most identifiers of one DataLink request; more are an overflow."
    )
