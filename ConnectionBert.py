"""The encoder: BERT and a pooling over its tokens, which turn a sentence into one vector (an embedding).

>>> encoder = ConnectionBert.load("transformers/bert/all-MiniLM-L6-v2")  # doctest: +SKIP
>>> encoder.encode(["A cat sleeps.", "A kitten naps."]).shape  # doctest: +SKIP
(2, 384)

Sentences go through BERT packed: laid end to end in one row, with no padding token (see `ConnectionDataset.pack`).
All of BERT but attention works token by token and does not notice; attention is told where each sentence lies.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from tokenizers import normalizers
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, AutoTokenizer, BertConfig, BertModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from connection import UserMistake
from connection.encoder_folder import (
    EncoderFolder,
    encoder_names,
    inspect_encoder,
    is_cased,
    stated_casing,
    write_description,
)
from ConnectionDataset import PackedBatch, pack

PACKED = "connection_packed"  # our attention's name among those of transformers


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    sentence_groups: list[tuple[int, int]],
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention (Vaswani et al., 2017) of each packed sentence within itself.

    query, key, value: (1, heads, T, d). sentence_groups: (length, count) of each run of equally long sentences; a run
    is one batch without padding, so no mask is needed. Returns (1, T, heads, d), and no attention weights.
    """
    attended, start = [], 0
    for length, count in sentence_groups:
        end = start + length * count
        # (1, heads, T, d) → (count, heads, length, d)
        parts = [x[0, :, start:end].unflatten(1, (count, length)).transpose(0, 1) for x in (query, key, value)]
        states = F.scaled_dot_product_attention(*parts, dropout_p=dropout, scale=scaling)
        attended.append(states.transpose(1, 2).flatten(0, 1))  # (count · length, heads, d)
        start = end
    return torch.cat(attended)[None], None


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, lambda *args, **kwargs: None)


def pool(states: Tensor, groups: list[tuple[int, int]], pooling: str) -> Tensor:
    """Token states (T, H) of packed sentences → one vector a sentence (N, H), in packed order.

    pooling: "mean" of all tokens, [CLS] and [SEP] among them; "cls", the last hidden state of [CLS] (not BERT's
    pooler); "max" of each dimension. Reimers and Gurevych, 2019, section 3.
    """
    pooled, start = [], 0
    for length, count in groups:
        tokens = states[start : start + length * count].unflatten(0, (count, length))  # (count, length, H)
        if pooling == "mean":
            pooled.append(tokens.mean(dim=1))
        elif pooling == "cls":
            pooled.append(tokens[:, 0])
        else:
            pooled.append(tokens.max(dim=1).values)
        start += length * count
    return torch.cat(pooled)


class ConnectionBert(nn.Module):
    """A siamese sentence encoder (Sentence-BERT): the same BERT and pooling for both sentences of a pair.

    bert: the BertModel, float32. pooling: mean, cls or max. normalize: whether vectors are scaled to length 1.
    max_tokens: longer sentences are cut to it, [CLS] and [SEP] included.
    """

    def __init__(
        self,
        bert: BertModel,
        tokenizer: Tokenizer,
        *,
        pooling: str,
        normalize: bool,
        max_tokens: int,
        lower_case_first: bool = False,
    ):
        super().__init__()
        self.bert = bert
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.normalize = normalize
        self.max_tokens = max_tokens
        self.lower_case_first = lower_case_first

    @classmethod
    def load(
        cls, folder: str | Path, *, pooling: str = "", max_tokens: int | None = None, quiet: bool = False
    ) -> ConnectionBert:
        """Load an encoder from a folder: a plain BERT, or one saved by this project or by sentence-transformers.

        pooling: "" takes what the folder says, mean for a plain BERT. max_tokens: None takes what the folder says; more
        than BERT has positions for is lowered to that. Every weight comes from the folder, as float32, in evaluation
        mode on the CPU. A missing pooler is left out, since no pooling uses it; one line says so unless `quiet`.
        Raises UserMistake with what the folder lacks, or holds and should not; nothing is fetched or made up.
        """
        description = inspect_encoder(folder, pooling)
        config = _bert_config(description.config)
        tokenizer = _load_tokenizer(description, config)
        bert = _load_bert(description.weights, config)
        if bert.pooler is None and not quiet:
            print(f"{description.weights} has no pooler; it is left out, since no pooling uses it.")
        limit = max_tokens or description.max_tokens or config.max_position_embeddings
        return cls(
            bert,
            tokenizer,
            pooling=description.pooling or "mean",
            normalize=description.normalize,
            max_tokens=min(limit, config.max_position_embeddings),
            lower_case_first=description.lower_case_first,
        ).eval()

    @property
    def dimension(self) -> int:
        """H, the length of an embedding."""
        return self.bert.config.hidden_size

    @property
    def device(self) -> torch.device:
        return self.bert.device

    def forward(self, batch: PackedBatch) -> Tensor:
        """Embeddings (N, H) of a packed batch, in the order in which its sentences were given."""
        states = self.bert(
            input_ids=batch.input_ids[None],
            position_ids=batch.position_ids[None],
            sentence_groups=batch.groups,
        ).last_hidden_state[0]  # (T, H)
        states = states.to(torch.promote_types(states.dtype, torch.float32))  # under autocast they are bfloat16
        embeddings = pool(states, batch.groups, self.pooling)[batch.order]  # (N, H)
        return F.normalize(embeddings, dim=1) if self.normalize else embeddings

    def tokenize(self, sentences: Sequence[str]) -> tuple[list[np.ndarray], int]:
        """Token ids of each sentence, (T,) int32 with [CLS] and [SEP], and how many were cut to `max_tokens`."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self.max_tokens)
        tokens, cut = [], 0
        for start in range(0, len(sentences), 4096):
            for encoding in backend.encode_batch(sentences[start : start + 4096]):
                tokens.append(np.array(encoding.ids, dtype=np.int32))
                cut += bool(encoding.overflowing)
        return tokens, cut

    def encode(self, sentences: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Embeddings of sentences in the order given: float32 (n, H). Each distinct sentence is computed once.

        batch_size: sentences computed at a time; it changes speed and memory, the vectors by no more than rounding.
        """
        if isinstance(sentences, str):
            raise TypeError("encode takes a list of sentences; for a single one give [sentence]")
        for i, sentence in enumerate(sentences):
            if not isinstance(sentence, str):
                raise TypeError(f"sentence {i} is {sentence!r}, no text")
        number = {sentence: i for i, sentence in enumerate(dict.fromkeys(sentences))}
        embeddings = self.encode_tokens(self.tokenize(list(number))[0], batch_size)
        return embeddings[[number[sentence] for sentence in sentences]]

    def encode_tokens(self, sentences: Sequence[np.ndarray], batch_size: int = 64) -> np.ndarray:
        """Embeddings of tokenised sentences in the order given: float32 (n, H). Without gradients or dropout."""
        embeddings = np.empty((len(sentences), self.dimension), dtype=np.float32)
        by_length = np.argsort([len(ids) for ids in sentences], kind="stable")
        with evaluating(self), torch.inference_mode():
            for start in range(0, len(sentences), batch_size):
                rows = by_length[start : start + batch_size]
                batch = pack([sentences[row] for row in rows]).to(self.device)
                embeddings[rows] = self(batch).float().cpu().numpy()
        return embeddings

    def save(self, folder: str | Path) -> None:
        """Write the encoder into `folder`, as sentence-transformers (2 or later) and `ConnectionBert.load` read it.

        A folder that exists keeps its other files. Nothing but weights, vocabulary and settings is written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in self.bert.named_parameters()}
        config = BertConfig.from_dict(self.bert.config.to_dict())
        config.architectures, config.dtype = ["BertModel"], torch.float32
        config.to_json_file(folder / "config.json")
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", folder / "model.safetensors")  # safetensors makes it the owner's alone
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.model_max_length = self.max_tokens
        self.tokenizer.save_pretrained(folder)
        write_description(
            folder,
            pooling=self.pooling,
            normalize=self.normalize,
            max_tokens=self.max_tokens,
            hidden=self.dimension,
            lower_case_first=self.lower_case_first,
        )


@contextlib.contextmanager
def evaluating(module: nn.Module):
    """Evaluation mode (no dropout) for the time of a `with`, then the mode that was."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def _bert_config(config: dict[str, Any]) -> BertConfig:
    """A config.json as BertConfig, by the fields that BertConfig has: no file can bring in a setting of its own."""
    fields = set(BertConfig().to_dict()) - {"architectures", "dtype", "transformers_version", "model_type", "use_cache"}
    return BertConfig(**{name: value for name, value in config.items() if name in fields}, use_cache=False)


def _load_tokenizer(description: EncoderFolder, config: BertConfig) -> Tokenizer:
    casing: dict[str, bool] = {}
    if stated_casing(description.bert) is None and (description.bert / "vocab.txt").is_file():
        vocabulary = (description.bert / "vocab.txt").read_text(encoding="utf-8").splitlines()
        casing = {"do_lower_case": not is_cased(vocabulary)}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            description.bert, config=config, local_files_only=True, trust_remote_code=False, **casing
        )
    except Exception as error:
        raise UserMistake(f"{description.bert}: its vocabulary cannot be read ({error}). Fetch its files again.") from error
    if description.lower_case_first:
        backend = tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise UserMistake(
            f"{description.bert}: the vocabulary has a piece number {largest}, but the weights are for "
            f"{config.vocab_size} pieces (config.json). The files belong to different models."
        )
    return tokenizer


def _load_bert(path: Path, config: BertConfig) -> BertModel:
    """A BertModel with every weight from the file, in float32."""
    given = _read_weights(path)
    weights = {name: given[theirs] for theirs, name in encoder_names(list(given)).items()}
    has_pooler = any(name.startswith("pooler.") for name in weights)
    config._attn_implementation = PACKED
    with torch.device("meta"):
        bert = BertModel(config, add_pooling_layer=has_pooler)
    _check_weights(path, weights, dict(bert.named_parameters()))
    bert.to_empty(device="cpu")
    bert.embeddings.position_ids = torch.arange(config.max_position_embeddings)[None]
    bert.embeddings.token_type_ids = torch.zeros_like(bert.embeddings.position_ids)
    bert.load_state_dict(weights, strict=True)
    return bert


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)  # a state dict: tensors, and no code
    except Exception as error:
        raise UserMistake(f"{path} cannot be read as weights ({error}). Fetch the file again.") from error


def _check_weights(path: Path, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raise UserMistake unless the names and shapes are those wanted and every number is finite."""
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shapes = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    problem = ""
    if missing:
        problem = f"lacks {len(missing)} of {len(wanted)} weights, {missing[0]} among them"
    elif unknown:
        problem = f"holds {len(unknown)} weights that BERT does not have, {unknown[0]} among them"
    elif shapes:
        name = shapes[0]
        problem = f"has {name} of shape {tuple(given[name].shape)} where config.json says {tuple(wanted[name].shape)}"
    elif not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in given.values()):
        problem = "holds numbers that are not finite"
    if problem:
        raise UserMistake(f"{path} {problem}. The files belong to different models or are damaged; fetch them again.")
