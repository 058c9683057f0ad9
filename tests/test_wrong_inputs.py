"""Wrong words, numbers, names, config files and predictions: each is told at once, and changes nothing."""

import shlex
from pathlib import Path

import pytest
from conftest import Runner
from refusals import Row, assert_refused, write_files

HARD = "ImageID,ans\na.jpg,1\nb.jpg,17\n"
SOFT = "ImageID,ans,0,1,2\na.jpg,1,0.2,0.5,0.3\nb.jpg,0,0.6,0.3,0.1\n"
DEEP = "[" * 100_000


FILES: dict[str, str | bytes] = {
    "hard.csv": HARD,
    "soft.csv": SOFT,
    "others.csv": HARD.replace("a.jpg", "z.jpg"),
    "fewer.csv": "ImageID,ans\na.jpg,1\n",
    "empty.csv": "",
    "header_only.csv": "ImageID,ans\n",
    "utf16.csv": HARD.encode("utf-16"),
    "utf16_no_bom.csv": HARD.encode("utf-16-le"),
    "binary.csv": bytes(range(256)),
    "repeated_column.csv": "ImageID,ans,ans\na.jpg,1,1\n",
    "order.csv": "ans,ImageID\n1,a.jpg\n",
    "no_ids.csv": "name,ans\na.jpg,1\n",
    "long_row.csv": "ImageID,ans\na.jpg,1,2\n",
    "short_row.csv": "ImageID,ans\na.jpg\n",
    "repeated_id.csv": "ImageID,ans\na.jpg,1\na.jpg,1\n",
    "empty_id.csv": "ImageID,ans\n,1\n",
    "open_quote.csv": 'ImageID,ans\n"a.jpg,1\n',
    "ans_18.csv": HARD.replace("17", "18"),
    "ans_negative.csv": HARD.replace("17", "-1"),
    "ans_text.csv": HARD.replace("17", "wear"),
    "ans_float.csv": HARD.replace("17", "1.0"),
    "nan.csv": SOFT.replace("0.5", "nan"),
    "inf.csv": SOFT.replace("0.5", "1e999"),
    "semicolons.csv": HARD.replace(",", ";"),
    "logits.csv": SOFT.replace("0.5", "7.5"),
    "list.json": "[1]",
    "text.json": "epochs=3",
    "empty.json": "",
    "binary.json": bytes(range(256)),
    "utf16.json": '{"epochs": 3}'.encode("utf-16"),
    "bom.json": b'\xef\xbb\xbf{"epochs": 0}',
    "nested.json": DEEP,
    "nested_options.json": '{"model_args": {"a":' * 50_000,
    "repeated.json": '{"epochs": 1, "epochs": 2}',
    "unknown.json": '{"epoch": 1}',
    "values.json": '{"values": 3}',
    "type_text.json": '{"epochs": "many"}',
    "type_list.json": '{"lr": [0.1]}',
    "type_null.json": '{"epochs": null}',
    "type_true.json": '{"epochs": true}',
    "type_number.json": '{"model": 3}',
    "infinity.json": '{"lr": Infinity}',
    "run/config.json": "{}",
}

# What is typed, how it ends, and what the message tells: what was wrong, what was received, what to type.
CASES: list[Row] = [
    # commands, words and the spelling of flags
    ("trian", 2, ["unknown command 'trian'", "Did you mean train?"]),
    ("''", 2, ["unknown command ''", "Commands: train, tune, find-lr, predict, evaluate, vote"]),
    ("train --modle=x", 2, ["unknown flag --modle", "Did you mean --model?"]),
    ("train -epochs 3", 2, ["'-epochs' is no flag", "Did you mean --epochs?"]),
    ("train —epochs=3", 2, ["unexpected word '—epochs=3'", "Did you mean --epochs?"]),
    ("train --epochs", 2, ["--epochs needs a value", "Type --epochs=INT"]),
    ("train --epochs=1 --epochs=2", 2, ["--epochs is given twice: '1' and '2'"]),
    ("train --batch-size=1 --batch_size=2", 2, ["--batch_size is given twice: '1' and '2'"]),
    ("train --pretrained --no-pretrained", 2, ["--pretrained is given twice: 'true' and 'false'"]),
    ("train --config=list.json --config=text.json", 2, ["--config is given twice"]),
    ("train 3", 2, ["unexpected word '3'", "maskkit train --help"]),
    ("predict", 2, ["RUN is missing", "Type: maskkit predict RUN"]),
    ("predict run other", 2, ["unexpected word 'other'"]),
    ("predict ''", 2, ["RUN must be a path, but is empty"]),
    ("evaluate", 2, ["SOURCE is missing", "Type: maskkit evaluate SOURCE"]),
    ("evaluate hard.csv soft.csv", 2, ["unexpected word 'soft.csv'"]),
    ("evaluate hard.csv --truth", 2, ["--truth needs a value", "Type --truth=PATH"]),
    ("list-plugins loss", 2, ["unexpected word 'loss'"]),
    ("list-plugins --kind=losses", 2, ["--kind must be one of: all, model, loss", "received 'losses'"]),
    ("list-plugins --format=yaml", 2, ["--format must be one of: table, json", "received 'yaml'"]),
    ("list-plugins --strict=perhaps", 2, ["--strict must be true or false", "received 'perhaps'"]),
    ("version --short", 2, ["unknown flag --short", "maskkit version --help"]),
    ("version 3", 2, ["unexpected word '3'"]),
    # numbers, sizes and choices
    ("train --epochs=", 2, ["--epochs must be a whole number; received ''"]),
    ("train --epochs=1e400", 2, ["--epochs must be a whole number; received '1e400'"]),
    ("train --epochs=−3", 2, ["--epochs must be a whole number, typed with plain - . and 0-9; received '−3'"]),
    ("train --epochs=٣", 2, ["--epochs must be a whole number, typed with plain - . and 0-9; received '٣'"]),
    ("train --lr=１", 2, ["--lr must be a number, typed with plain - . and 0-9; received '１'"]),
    ("train --lr=1e400", 2, ["--lr must be a finite number; received '1e400'"]),
    ("train --lr=nan", 2, ["--lr must be a number; received 'nan'"]),
    ("train --lr=-inf", 2, ["--lr must be a number; received '-inf'"]),
    ("train --lr=0", 2, ["--lr must be above 0; received '0'"]),
    ("train --lr=0,1", 2, ["--lr must be a number; received '0,1'"]),
    ("train --val_ratio=1", 2, ["--val_ratio must be at most 0.9; received '1'"]),
    ("train --seed=-1", 2, ["--seed must be at least 0; received '-1'"]),
    ("train --seed=1.5", 2, ["--seed must be a whole number; received '1.5'"]),
    ("train --resize=0", 2, ["--resize must be at least 16; received '0'"]),
    ("train --resize=-32", 2, ["--resize must be height and width: 128,96 or 128x96", "received '-32'"]),
    ("train --resize=128x", 2, ["--resize must be height and width: 128,96 or 128x96", "received '128x'"]),
    ("train --resize 64 64 64", 2, ["unexpected word '64'"]),
    ("train --num_workers=many", 2, ["--num_workers must be auto|INT; received 'many'"]),
    ("train --num_workers=-1", 2, ["--num_workers must be at least 0; received '-1'"]),
    ("train --num_workers=100000", 2, ["--num_workers must be at most 256; received '100000'"]),
    ("train --batch_size=99999999999", 2, ["--batch_size must be at most 65536; received '99999999999'"]),
    ("train --resize=99999999999", 2, ["--resize must be at most 4096; received '99999999999'"]),
    ("train --accumulate=0", 2, ["--accumulate must be at least 1; received '0'"]),
    ("train --on-bad-image=ignore", 2, ["--on_bad_image must be one of: error, skip; received 'ignore'"]),
    ("train --precision=fp8", 2, ["--precision must be one of: auto, fp32, bf16, fp16; received 'fp8'"]),
    ("train --pretrained=perhaps", 2, ["--pretrained must be auto|true|false; received 'perhaps'"]),
    ("train --data_dir=", 2, ["--data_dir must be a path, but is empty"]),
    ("train --reporters=csv,,console", 2, ["--reporters has an empty part between its commas"]),
    ("predict run --batch_size=0", 2, ["--batch_size must be at least 1; received '0'"]),
    ("predict run --checkpoint=first", 2, ["--checkpoint must be one of: best, last; received 'first'"]),
    ("evaluate hard.csv --classification=axis", 2, ["--classification must be one of: auto, multi", "received 'axis'"]),
    ("vote soft.csv --out=o.csv --space=log", 2, ["--space must be one of: auto, prob, logit; received 'log'"]),
    # names and options of components
    ("train --model=", 2, ["unknown model ''", "Valid: BaseModel"]),
    ("train --model=basemodel", 2, ["unknown model 'basemodel'", "Did you mean BaseModel?"]),
    ("train --model=nobody:BaseModel", 2, ["unknown model 'nobody:BaseModel'", "Did you mean BaseModel?"]),
    ("train --criterion=../focal", 2, ["unknown loss '../focal'", "Did you mean focal?"]),
    ("train --optimizer=adam", 2, ["unknown optimizer 'adam'", "Did you mean Adam?"]),
    ("train --reporters=csv,printer", 2, ["unknown reporter 'printer'", "Valid: console, "]),
    ("vote hard.csv --how=sofft --out=o.csv", 2, ["unknown vote 'sofft'", "Did you mean soft?"]),
    ("vote hard.csv --how_args=x=1 --out=o.csv", 2, ["vote soft has no option 'x'", "It takes: none."]),
    ("train --model_args=drop", 2, ["--model_args must be key=value,key=value or a JSON object; received 'drop'"]),
    ("train --model_args=a=1,a=2", 2, ["--model_args gives a twice"]),
    ("""train --model_args='{"a": 1, "a": 2}'""", 2, ["--model_args gives a twice"]),
    ("""train --model_args='{"a": 1'""", 2, ["--model_args is no JSON", "at character 8"]),
    (
        f"""train --model_args='{{"a":{DEEP}'""",
        2,
        ["--model_args is no JSON that can be read: it is nested too deeply"],
    ),
    (f"train --model_args=a={DEEP}", 2, ["model BaseModel has no option 'a'"]),
    # config files
    ("train --config=", 2, ["--config must be a path, but is empty"]),
    ("train --config=absent.json", 2, ["--config: cannot read absent.json: No such file or directory"]),
    ("train --config=run", 2, ["--config: cannot read run: Is a directory"]),
    ("train --config=empty.json", 2, ["--config: empty.json is no JSON"]),
    ("train --config=text.json", 2, ["--config: text.json is no JSON"]),
    ("train --config=binary.json", 2, ["--config: binary.json is no JSON: it is no text in UTF-8"]),
    ("train --config=utf16.json", 2, ["--config: utf16.json is no JSON: it is no text in UTF-8"]),
    ("train --config=nested.json", 2, ["--config: nested.json is no JSON that can be read: it is nested too deeply"]),
    ("train --config=nested_options.json", 2, ["nested_options.json is no JSON that can be read: it is nested too"]),
    ("train --config=list.json", 2, ["--config: list.json must hold a JSON object of flags and values"]),
    ("train --config=values.json", 2, ["--config: values.json must hold a JSON object of flags and values"]),
    ("train --config=repeated.json", 2, ["--config: repeated.json gives epochs twice"]),
    ("train --config=unknown.json", 2, ["unknown name 'epoch' in unknown.json", "Did you mean epochs?"]),
    ("train --config=bom.json", 2, ["bom.json: --epochs must be at least 1; received 0"]),
    ("train --config=type_text.json", 2, ["type_text.json: --epochs must be a whole number; received 'many'"]),
    ("train --config=type_list.json", 2, ["type_list.json: --lr must be a number; received [0.1]"]),
    ("train --config=type_null.json", 2, ["type_null.json: --epochs must be a whole number; received None"]),
    ("train --config=type_true.json", 2, ["type_true.json: --epochs must be a whole number; received True"]),
    ("train --config=type_number.json", 2, ["type_number.json: --model must be text; received 3"]),
    ("train --config=infinity.json", 2, ["infinity.json: --lr must be a"]),
    # files of predictions
    ("evaluate absent.csv", 1, ["absent.csv cannot be read: No such file or directory"]),
    ("evaluate run", 1, ["the folder run has no predictions/valid_soft.csv", "Name a CSV file, or a run folder."]),
    ("evaluate hard.csv", 1, ["hard.csv has no column 'truth'", "--truth=FILE"]),
    ("evaluate hard.csv --truth=absent.csv", 1, ["absent.csv cannot be read: No such file or directory"]),
    ("evaluate hard.csv --truth=others.csv", 1, ["hold different ids", "'a.jpg', line 2 of hard.csv"]),
    ("evaluate hard.csv --truth=fewer.csv", 1, ["hold different ids", "'b.jpg', line 3 of hard.csv"]),
    ("evaluate hard.csv --truth=soft.csv", 1, ["soft.csv has 3 columns of classes; a truth file is in the 18"]),
    ("evaluate soft.csv", 2, ["soft.csv has 3 columns of classes", "--classification=mask or --classification=age"]),
    ("evaluate empty.csv", 1, ["empty.csv is empty", "The columns must be ImageID,ans"]),
    ("evaluate header_only.csv", 1, ["header_only.csv, line 1: there are no rows"]),
    ("evaluate utf16.csv", 1, ["utf16.csv is not text in UTF-8", "Save it as CSV in UTF-8."]),
    ("evaluate utf16_no_bom.csv", 1, ["utf16_no_bom.csv is not text but binary", "Save it as CSV in UTF-8."]),
    ("evaluate binary.csv", 1, ["binary.csv is not text"]),
    ("evaluate repeated_column.csv", 1, ["repeated_column.csv, line 1: the column 'ans' appears 2 times"]),
    ("evaluate order.csv", 1, ["order.csv, line 1: the columns are out of order; received 'ans,ImageID'"]),
    ("evaluate no_ids.csv", 1, ["no_ids.csv, line 1: the column 'ImageID' is missing; received 'name,ans'"]),
    (
        "evaluate semicolons.csv",
        1,
        ["semicolons.csv, line 1", "received 'ImageID;ans'", "The columns must be ImageID,ans"],
    ),
    ("evaluate long_row.csv", 1, ["long_row.csv, line 2: the row has 3 cells; the header has 2"]),
    ("evaluate short_row.csv", 1, ["short_row.csv, line 2: the row has 1 cells; the header has 2"]),
    ("evaluate repeated_id.csv", 1, ["repeated_id.csv, line 3: the ImageID 'a.jpg' is already on line 2"]),
    ("evaluate empty_id.csv", 1, ["empty_id.csv, line 2: the ImageID is empty"]),
    ("evaluate open_quote.csv", 1, ["open_quote.csv, line 2: the row is not valid CSV"]),
    ("evaluate ans_18.csv", 1, ["ans_18.csv, line 3: column 'ans' is '18'; it must be a whole number from 0 to 17"]),
    ("evaluate ans_negative.csv", 1, ["ans_negative.csv, line 3: column 'ans' is '-1'"]),
    ("evaluate ans_text.csv", 1, ["ans_text.csv, line 3: column 'ans' is 'wear'"]),
    ("evaluate ans_float.csv", 1, ["ans_float.csv, line 3: column 'ans' is '1.0'"]),
    ("evaluate nan.csv", 1, ["nan.csv, line 2: column '1' is 'nan'; it must be a finite number"]),
    ("evaluate inf.csv", 1, ["inf.csv, line 2: column '1' is '1e999'; it must be a finite number"]),
    # votes
    ("vote", 2, ["nowhere to write the vote", "Type --out=vote.csv"]),
    ("vote --out=o.csv", 2, ["no file of predictions is given"]),
    ("vote '' --out=o.csv", 2, ["FILES has an empty part"]),
    ("vote 'a*.csv' --out=o.csv", 1, ["a*.csv cannot be read: No such file or directory"]),
    ("vote run --out=o.csv", 1, ["run is a folder; a CSV file of predictions is needed"]),
    ("vote hard.csv --out=o.csv", 1, ["hard.csv holds answers, no probabilities", "Use --how=hard."]),
    ("vote hard.csv ./hard.csv --how=hard --out=o.csv", 2, ["hard.csv is given twice"]),
    ("vote hard.csv others.csv --how=hard --out=o.csv", 1, ["hard.csv and others.csv hold different ids"]),
    ("vote hard.csv soft.csv --how=hard --out=o.csv", 1, ["hard.csv, line 3: ans is 17"]),
    ("vote logits.csv --space=prob --out=o.csv", 1, ["logits.csv, line 2: the row holds no probabilities"]),
    ("vote hard.csv --how=hard --weights=1,2 --out=o.csv", 2, ["weights: 2 given for 1 files"]),
    ("vote hard.csv --how=hard --weights=0 --out=o.csv", 2, ["all weights of hard.csv are 0"]),
    ("vote hard.csv --how=hard --weights=nan --out=o.csv", 2, ["--weights must be a number; received 'nan'"]),
    ("vote --mask=soft.csv --out=o.csv", 2, ["--gender is missing; a fusion needs all of --mask, --gender and --age"]),
    ("vote hard.csv --mask=soft.csv --out=o.csv", 2, ["hard.csv is given as a word beside --mask"]),
    ("vote hard.csv --how=hard --out=hard.csv", 2, ["--out=hard.csv is one of the files to vote over"]),
    ("vote hard.csv --how=hard --soft_out=run/../hard.csv", 2, ["hard.csv is one of the files to vote over"]),
    ("vote hard.csv --how=hard --out=o.csv --soft_out=./o.csv", 2, ["--out and --soft_out are both o.csv"]),
    ("vote hard.csv --how=hard --out=run", 1, ["run: Is a directory"]),
    ("vote hard.csv --how=hard --out=hard.csv/o.csv", 1, ["hard.csv: File exists"]),
    ("vote hard.csv --how=hard --out=/proc/o.csv", 1, ["/proc/o.csv: No such file or directory"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the files that the table names."""
    return write_files(tmp_path_factory.mktemp("inputs"), FILES)


@pytest.mark.parametrize("row", CASES, ids=lambda row: row[0][:60])
def test_a_wrong_input_is_told_and_changes_nothing(maskkit: Runner, folder: Path, row: Row) -> None:
    assert_refused(maskkit, folder, row)


def test_the_traceback_is_shown_to_who_asks_for_it(maskkit: Runner, folder: Path) -> None:
    words = shlex.split("train --config=nested.json")
    quiet, loud = maskkit(*words, cwd=folder), maskkit(*words, "--debug", cwd=folder)
    assert loud.err.startswith("Traceback (most recent call last):\n")
    assert loud.err.endswith(quiet.err)
    assert (loud.code, loud.out) == (quiet.code, "")
