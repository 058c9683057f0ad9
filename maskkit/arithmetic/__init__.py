"""What makes a step faster than the stock one: each trick, where it lives, what it costs and where it helps.

Figures are of EfficientNet-b0 on two cores with AVX-512 bf16 and torch 2.14, as `tests/benchmarks/step_speed.py` tells
them, which anyone can run again. Nothing here knows a network by its name, so those of plugins gain as much.

In this room:
    allocator.py  the C library keeps the memory of large tensors: 1.3 times as fast at 128x96 and 1.2 times at 224x224,
                  for a tenth more of it at the peak. Off where the C library is not glibc, or the user has set it.
    depthwise.py  depthwise convolutions that stride or are wider than 3 go backward by detours where the network
                  computes in bfloat16: 1.6 times as fast at 128x96, 1.5 times at 224x224. On only where a probe finds
                  them faster; config.json keeps what it found, so a resumed run does as it did.
    pooling.py    the means of squeeze-and-excitation blocks are quick both ways: 1.05 times as fast at 128x96, and 1.14
                  times at 224x224. On every CPU, since it costs nothing.
    folding.py    in validation and prediction, batch norms are part of the convolutions before them, and weights are in
                  the format of the arithmetic: with kept memory, 2.5 times as fast at 128x96. Off for a network whose
                  logits would change.
    replacing.py  the mode by which the last three reach every network.

Where they belong:
    engine/device.py        bfloat16 wherever the CPU or the GPU multiplies in it.
    engine/classifier.py    channels_last, which convolutions like; autocast; images travel as uint8 and become numbers
                            on the device, and are normalised a row at a time.
    engine/trainer.py       nothing waits for the device between two reports of the loss; losses and right answers are
                            summed there, and gradients are dropped rather than zeroed.
    builtin/optimizers.py   fused steps.
    builtin/models.py       torch's own SiLU, and convolutions that pad by themselves rather than by a copy.
    data/kept.py            images are decoded once, and stay in memory.
    cli/commands.py         threads that wait sleep after microseconds, and leave the cores to those that decode.

Off unless asked for: `--compile`, since torch takes minutes to compile, after which BaseModel trained 0.8 times as fast
on this CPU; and `--compile=graphs`, for GPUs alone. Neither has been measured on a GPU. A compiled network goes without
what depthwise.py and folding.py do.

What was tried and left out: batches of 256 rather than 64 gain 7 % in prediction, and those above 64 nothing in
training.
"""
