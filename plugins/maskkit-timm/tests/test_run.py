import json
import subprocess
import sys
from pathlib import Path

import timm
from conftest import Runner, serve
from safetensors import safe_open
from safetensors.torch import save


def test_a_run_starts_from_the_weights_of_the_hub_and_predicts_the_same_from_its_checkpoint(
    maskkit: Runner, faces: Path, tmp_path: Path
) -> None:
    serve("test_vit.r160_in1k", save(timm.create_model("test_vit").state_dict()))
    options = json.dumps({"name": "test_vit", "drop_rate": 0.1})
    trained = maskkit(
        "train", "--model=timm", f"--model_args={options}", f"--data_dir={faces}", "--epochs=1", "--resize=64,48"
    )
    assert trained.returncode == 0, trained.stderr
    assert "parameters, pretrained" in trained.stdout

    run = tmp_path / "runs" / "exp"
    predicted = maskkit("predict", run, "--out=again", HF_HUB_OFFLINE="1")
    assert predicted.returncode == 0, predicted.stderr
    for file in ("eval_soft.csv", "eval_hard.csv"):
        assert (tmp_path / "again" / file).read_bytes() == (run / "predictions" / file).read_bytes()

    evaluated = maskkit("evaluate", run)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "macro F1" in evaluated.stdout

    with safe_open(run / "checkpoints" / "best.safetensors", framework="pt") as file:
        description = json.loads(file.metadata()["description"])
    assert (description["mean"], description["std"]) == ([0, 0, 0], [1, 1, 1]), "the model normalises by itself"


def test_listing_the_plugin_loads_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from maskkit.cli.shell import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'timm', 'huggingface_hub', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "list-plugins", "--plugin=timm"], capture_output=True, text=True, check=True
    )
    assert "vit_base_384" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
