"""The shapes that the benchmarks measure; each names the model it comes from. No measuring here."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One group norm of a model: input (N, C, *space), G groups."""

    name: str
    model: str
    N: int
    C: int
    space: tuple[int, ...]
    G: int

    @property
    def S(self) -> int:
        """The product of the trailing dimensions."""
        return math.prod(self.space)

    @property
    def has_channels_last(self) -> bool:
        """Whether a channels-last layout differs from the contiguous one."""
        return len(self.space) >= 2 and self.S > 1

    def __str__(self) -> str:
        return f"N={self.N} C={self.C} S={self.S} G={self.G}"


SHAPES = [
    Shape("sd_unet_64", "Stable Diffusion UNet, 512 px, with guidance", 2, 320, (64, 64), 32),
    Shape("sd_unet_64_skip", "Stable Diffusion UNet, up block", 2, 960, (64, 64), 32),
    Shape("sd_unet_32", "Stable Diffusion UNet", 2, 640, (32, 32), 32),
    Shape("sd_unet_32_skip", "Stable Diffusion UNet, up block", 2, 1920, (32, 32), 32),
    Shape("sd_unet_16", "Stable Diffusion UNet", 2, 1280, (16, 16), 32),
    Shape("sd_unet_16_skip", "Stable Diffusion UNet, up block, 80 a group", 2, 2560, (16, 16), 32),
    Shape("sd_unet_8", "Stable Diffusion UNet, middle block", 2, 1280, (8, 8), 32),
    Shape("sd_unet_4", "Stable Diffusion UNet, middle block at 256x256", 2, 1280, (4, 4), 32),
    Shape("sd_vae_64", "Stable Diffusion VAE decoder", 1, 512, (64, 64), 32),
    Shape("sd_vae_128", "Stable Diffusion VAE decoder", 1, 512, (128, 128), 32),
    Shape("sd_vae_256", "Stable Diffusion VAE decoder", 1, 256, (256, 256), 32),
    Shape("sd_vae_512", "Stable Diffusion VAE decoder", 1, 128, (512, 512), 32),
    Shape("ddpm_32", "DDPM, CIFAR-10", 32, 128, (32, 32), 32),
    Shape("ddpm_16", "DDPM, CIFAR-10", 128, 256, (16, 16), 32),
    Shape("ddpm_8", "DDPM, CIFAR-10", 128, 256, (8, 8), 32),
    Shape("ddpm_4", "DDPM, CIFAR-10", 128, 256, (4, 4), 32),
    Shape("resnet_112", "ResNet-50-GN stem, 2 a group", 8, 64, (112, 112), 32),
    Shape("resnet_56", "ResNet-50-GN stage 1", 8, 256, (56, 56), 32),
    Shape("resnet_28", "ResNet-50-GN stage 2", 16, 512, (28, 28), 32),
    Shape("resnet_14", "ResNet-50-GN stage 3", 32, 1024, (14, 14), 32),
    Shape("resnet_7", "ResNet-50-GN stage 4", 32, 2048, (7, 7), 32),
    Shape("resnet_7_narrow", "ResNet-50-GN stage 4, 3x3", 64, 512, (7, 7), 32),
    Shape("head_p3", "FCOS head, 800x1216, P3", 2, 256, (100, 152), 32),
    Shape("head_p4", "FCOS head, P4", 2, 256, (50, 76), 32),
    Shape("head_p5", "FCOS head, P5", 2, 256, (25, 38), 32),
    Shape("head_p6", "FCOS head, P6", 2, 256, (13, 19), 32),
    Shape("box_head", "Mask R-CNN box head, 512 proposals", 512, 256, (7, 7), 32),
    Shape("mask_head", "Mask R-CNN mask head", 128, 256, (14, 14), 32),
    Shape("mlp", "token features, S=1", 8192, 512, (), 32),
    Shape("policy", "policy network, S=1", 4096, 1024, (), 16),
    Shape("video", "video diffusion UNet, 5-d", 1, 320, (8, 32, 32), 32),
    Shape("unet3d", "3-d UNet for volumes, 5-d", 1, 64, (32, 48, 48), 8),
    Shape("stylize", "instance normalisation, 1 a group", 4, 64, (128, 128), 64),
    Shape("wav2vec", "wav2vec 2.0 first layer, 1 a group, S odd", 4, 512, (3199,), 512),
    Shape("tasnet", "Conv-TasNet, 1 group", 4, 512, (3200,), 1),
    Shape("pool_56", "PoolFormer stage 1, 1 group", 8, 64, (56, 56), 1),
    Shape("pool_7", "PoolFormer stage 4, 1 group", 32, 512, (7, 7), 1),
    Shape("tiny", "a smallest layer", 2, 32, (8, 8), 8),
]
