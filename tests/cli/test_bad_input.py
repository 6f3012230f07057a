"""Bad input: every command ends with code 2 and one line that says what to do, and leaves nothing behind."""

from __future__ import annotations

import re
import shutil

import pytest

CASES = [
    # images that do not fit the autoencoder
    ("generate DATA/rgb --autoencoder digits", "digits takes images (1, 8, 8), got (3, 16, 16)", "such as auto"),
    ("preview DATA/bands.npz", "got (4, 8, 8) from the data; train one on them: augmentor train-autoencoder"),
    ("preview digits --autoencoder DATA/rgb.safetensors", "takes images (3, 16, 16), got (1, 8, 8)", "--size 16"),
    ("evaluate DATA/generator.safetensors DATA/rgb --features DATA/rgb.safetensors", "images (1, 8, 8) in", "--size"),
    ("evaluate digits DATA/rgb", "(1, 8, 8)", "(3, 16, 16)", "--size"),
    ("train-autoencoder DATA/rgb --autoencoder 'vae(image_shape=[1, 8, 8])'", "got"),
    ("tune digits --autoencoder mnist", "28"),
    # values and files
    ("train-autoencoder DATA/range.npz", "[0, 1]", "values from 0 to 255"),
    ("train-gan DATA/nan.npz", "[0, 1]", "NaN"),
    ("generate DATA/empty", "no images in", "one folder per class"),
    ("preview DATA/nowhere", "found no data at", "expected 'digits'"),
    (f"preview {'a' * 5000}", "a" * 50),
    ("preview DATA/damaged.npz", "cannot read"),
    ("preview DATA/sizes", "2 sizes", "--size"),
    ("preview DATA/run", "the folder of a training run"),
    ("generate DATA/rgb --autoencoder DATA/shards", "shards/model.safetensors does not exist", "training run"),
    # names, and how they are written
    ("trian-gan digits", "unknown command 'trian-gan'; did you mean 'train-gan'"),
    ("preview digits --polcy slerp", "--polcy", "--policy"),
    ("preview", "DATA"),
    ("generate digits --policy gausian", "did you mean 'gaussian'"),
    ("generate digits --policy 'gaussian(sdt=1)'", "'sdt'; did you mean 'std'"),
    ("generate digits --policy 'gaussian('", "cannot read policy"),
    ("generate digits --autoencoder digit", "did you mean 'digits'"),
    ("train-gan digits --method gan --network dcgam", "did you mean 'dcgan'"),
    ("train-gan digits --network dcgan", "uses the networks of its autoencoder; omit --network"),
    ("train-gan digits --method 'ae-init(bandwidth=2)'", "bandwidth must be above 0 and at most 1, got 2"),
    ("train-gan digits --patience 0", "--patience"),
    ("train-gan digits --method gan --autoencoder digits", "got --autoencoder digits, which --method gan", "omit"),
    ("train-gan digits --policy smote", "got --policy smote, which --method ae-init with --augment none does not use"),
    ("train-gan digits --residual 0.5", "got --residual 0.5, which"),
    ("train-gan digits --devices 2", "first run augmentor train-autoencoder"),
    ("train-gan digits --augment ada+both", "put both first"),
    ("train-gan digits --p adaptve --augment both", "mean 'adaptive'"),
    ("train-gan digits --augment both --policy 'interpolate(same_class=False)'", "mixes classes"),
    # numbers and choices
    ("preview digits --size 16", "--size 16 is for folders", "leave size out"),
    ("preview digits --split test", "--split test is for"),
    ("train-autoencoder digits --steps many", "'many'"),
    ("train-autoencoder digits --from mnist --autoencoder vae", "got --from mnist and --autoencoder vae"),
    ("train-autoencoder digits --from nowhere", "unknown autoencoder 'nowhere'"),
    ("train-autoencoder digits --from mnist", "takes images (1, 28, 28)"),
    ("train-autoencoder digits --val-fraction 0", "give steps or minutes"),
    ("train-autoencoder digits --lr nan", "lr must be positive", "--lr nan"),
    ("train-autoencoder digits --val-fraction 1", "--val-fraction"),
    ("train-gan digits --augment both --p 2", "between 0 and 1"),
    ("train-gan digits --epochs 1 --batch-size 0", "batch-size"),
    ("train-gan digits --stop-on boredom", "'collapse', 'saturation'"),
    ("generate digits --num-samples 0", "--num-samples", "x>=1"),
    ("generate digits --gpus-per-worker 1", "--gpus-per-worker must be", "for --executor ray"),
    ("generate digits --store latents --residual 0.5", "--store latents cannot store", "what --residual 0.5 adds"),
    ("generate digits --unit-range 0:1 --no-resume", "got --no-resume while several processes", "expected --resume"),
    ("generate digits --unit-range 0:1 --precision auto", "--precision auto is measured", "such as --precision "),
    ("generate digits --seed -1", "seed"),
    ("evaluate DATA/shards digits --num-samples 19", "20"),
    ("demo --steps 0", "steps"),
    ("tune digits --folds 1", "1 is not in the range x>=2"),
    ("tune digits --labels-per-class 2", "too few for 3 folds"),
    ("tune digits --control afine", "unknown control 'afine'; did you mean 'affine'"),
    ("tune digits --unlabelled digits --task kid", "a GAN needs no labels"),
    ("tune digits --budget 0.001m", "a budget of 0.06 s is too small"),
    *((f"tune digits --budget={text}", "expected a time such as 600") for text in ("soon", "0", "nan", "10d")),
    # weights
    ("info DATA/text.safetensors", "not a weights file"),
    ("info nowhere", "neither a pretrained name"),
    ("verify nowhere", "does not exist"),
    ("verify DATA/nonsense", "manifest.json"),
    ("generate DATA/rgb --autoencoder DATA/truncated.safetensors", "truncated", "damaged"),
    ("preview DATA/rgb --autoencoder DATA/tampered.safetensors", "tampered", "checksum", "copy or download it again"),
    ("generate DATA/rgb --autoencoder DATA/generator.safetensors", "'generator' weights; expected"),
    ("generate DATA/rgb --autoencoder 'two\nlines.safetensors'", "two lines.safetensors", "does not exist"),
    ("evaluate DATA/rgb.safetensors digits", "expected generator weights"),
    # devices: what there is nowhere, and what is not here
    ("train-autoencoder digits --device tpu", "device 'tpu' is not available; expected cpu"),
    ("demo --device cuda:99", "device 'cuda:99' is not available; expected cpu", "or auto"),
    ("preview DATA/rgb --device meta", "device 'meta' is not available"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), [(line, said) for line, *said in CASES])
def test_bad_input_is_one_line_and_leaves_nothing(refused, tmp_path, line, said):
    error = refused(line, "--out", "result")
    for text in said:
        assert text in error
    assert len(error) < 600 or len(line) > 600
    words = re.sub(r"\w+\([^()]*\)", "", error)  # text forms of policies and networks are the command line's as well
    assert not re.search(r"\w=(True|False|None)|labels_getter", words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["generate digits", "train-gan digits", "demo"])
def test_a_folder_with_other_things_stays_as_it_is(refused, data, tmp_path, files, line):
    shutil.copytree(data / "nonsense", tmp_path / "taken")
    for out, said in (("taken", "taken holds other files (thesis.tex)"), ("taken/thesis.tex", "is a file")):
        error = refused(line, "--out", out)
        assert said in error
        assert "choose another" in error
        assert files() == {"taken/thesis.tex": b"years of work"}


def test_a_file_that_cannot_be_written(refused, tmp_path, files):
    (tmp_path / "folder").mkdir()
    assert "'folder' is a directory" in refused("evaluate digits digits --out folder")  # before any work
    (tmp_path / "file").write_text("mine")
    assert "cannot write file/inside" in refused("preview digits --policy slerp --out file/inside")
    assert files() == {"file": b"mine"}


def test_a_loss_that_is_not_finite_is_one_line(refused, files):
    error = refused("train-gan DATA/grey.npz --method gan --lr 1e20 --steps 20 --batch-size 8 --out gan")
    assert "last good checkpoint is kept" in error
    assert "lower learning rate" in error
    assert "gan/generator.safetensors" not in files()
