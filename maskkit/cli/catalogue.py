"""The commands in the box."""

from maskkit.cli import commands
from maskkit.cli.command import Command
from maskkit.config import (
    CacheConfig,
    CheckConfig,
    CheckPluginConfig,
    EvaluateConfig,
    FindLrConfig,
    ListPluginsConfig,
    NewPluginConfig,
    PredictConfig,
    TrainConfig,
    TuneConfig,
    VersionConfig,
    VoteConfig,
)

__all__ = ["COMMANDS", "RESERVED"]

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "train",
            TrainConfig,
            commands.train,
            (
                "maskkit train",
                "maskkit train --data_dir=train/images --model=Efficientnet_b3 --epochs=30 --batch_size=16",
                "maskkit train --classification=mask --criterion=focal --criterion_args=gamma=1.5",
            ),
            takes_config_file=True,
            is_tuned=True,
        ),
        Command(
            "tune",
            TuneConfig,
            commands.tune,
            (
                "maskkit tune --data_dir=train/images --trials=20 --epochs=5",
                "maskkit tune --data_dir=/data/train/images --space=search_space.json --remote=config_remote.yml",
            ),
            takes_config_file=True,
        ),
        Command(
            "find-lr",
            FindLrConfig,
            commands.find_lr,
            (
                "maskkit find-lr",
                "maskkit find-lr --data_dir=train/images --model=Efficientnet_b3 --optimizer=AdamW --plot=rates.png",
            ),
            takes_config_file=True,
        ),
        Command(
            "predict", PredictConfig, commands.predict, ("maskkit predict runs/exp --images=photos --out=answers",)
        ),
        Command(
            "evaluate",
            EvaluateConfig,
            commands.evaluate,
            ("maskkit evaluate runs/exp", "maskkit evaluate submission.csv --truth=answers.csv"),
        ),
        Command(
            "vote",
            VoteConfig,
            commands.vote,
            (
                "maskkit vote runs/*/predictions/eval_soft.csv --out=vote.csv",
                "maskkit vote --mask=m.csv --gender=g1.csv,g2.csv --age=a.csv --out=vote.csv",
            ),
        ),
        Command(
            "list-plugins",
            ListPluginsConfig,
            commands.list_plugins,
            ("maskkit list-plugins --kind=loss", "maskkit list-plugins --format=json --strict"),
        ),
        Command(
            "new-plugin",
            NewPluginConfig,
            commands.new_plugin,
            (
                "maskkit new-plugin maskkit-poly --kind=loss",
                "maskkit new-plugin maskkit-faces --kind=dataset --out=plugins/faces",
            ),
        ),
        Command(
            "check-plugin",
            CheckPluginConfig,
            commands.check_plugin,
            ("maskkit check-plugin .", "maskkit check-plugin maskkit-hello --data_dir=train/images"),
        ),
        Command(
            "check",
            CheckConfig,
            commands.check,
            ("maskkit check train/images --sheet=photos.png", "maskkit check train/images --format=json"),
        ),
        Command("cache", CacheConfig, commands.cache, ("maskkit cache", "maskkit cache --clear")),
        Command("version", VersionConfig, commands.version, ("maskkit version",)),
    )
}
"""By name."""

RESERVED = (*COMMANDS, "help")
"""The words that no plugin can take for a command of its own."""
