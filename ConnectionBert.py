"""The encoder: BERT and a pooling over its tokens turn a sentence into one vector (an embedding).

>>> encoder = ConnectionBert.load("transformers/bert/all-MiniLM-L6-v2")  # doctest: +SKIP
>>> encoder.encode(["A cat sleeps.", "A kitten naps."]).shape  # doctest: +SKIP
(2, 384)

BERT computes sentences packed, that is concatenated in one row without padding tokens (see `ConnectionDataset.pack`). Only
attention combines tokens, so only attention needs to know where each sentence begins and ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from connection import UserMistake
from connection.disk import durable
from connection.disk.safetensors_file import safetensors_chunks
from connection.encoder.ahead import on_device
from connection.encoder.batches import parts, runs_by_length, without_surrogates
from connection.encoder.composition import Composition
from connection.encoder.families import family_of
from connection.encoder.folder import inspect_encoder
from connection.encoder.packed.blocks import Blocks
from connection.encoder.packed.composed import composed_states
from connection.encoder.packed.forward import is_plain, packed_states, row_count, runs_by_hand
from connection.encoder.packed.pooling import pool, pool_blocks
from connection.encoder.packed.products import weights_cast_once
from connection.encoder.packed.trained_rows import TrainedRows
from connection.encoder.prompts import default_prompt, pair_prompts, with_pair_prompts
from connection.encoder.sentence_files import write_sentence_files
from connection.encoder.tokenizer import load_tokenizer, save_tokenizer
from connection.encoder.weights import load_config, load_model
from ConnectionDataset import PackedBatch, pack

if TYPE_CHECKING:
    from transformers import BertModel
    from transformers import PreTrainedTokenizerBase as Tokenizer

# Tokens that `encode` computes at once. On the CPU about one cache full; most batches then have one shape.
TOKENS_AT_ONCE_ON_CPU, TOKENS_AT_ONCE_ON_CARD = 1024, 32_768
MOST_SENTENCES = 4096  # the default for the number of sentences at once


class ConnectionBert(nn.Module):
    """A siamese sentence encoder (Sentence-BERT): the same BERT and pooling for both sentences of a pair.

    bert: transformers' model, float32. pooling: mean, cls or max. normalize: whether embeddings are scaled to length 1.
    max_tokens: longer sentences are cut to it, including [CLS] and [SEP]. by_hand: whether the CPU computes BERT's layers
    with the faster `connection/encoder/packed/layer.py` or with transformers; results differ only by rounding.
    """

    by_hand = True

    def __init__(
        self,
        bert: BertModel,
        tokenizer: Tokenizer,
        *,
        pooling: str,
        normalize: bool,
        max_tokens: int,
        lower_case_first: bool = False,
        settings: Mapping[str, Any] | None = None,
        pools_prompt: bool = True,
    ):
        super().__init__()
        self.bert = bert
        self.family = family_of(bert.config.to_dict(), Path("config.json"))
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.normalize = normalize
        self.max_tokens = max_tokens
        self.lower_case_first = lower_case_first
        self.settings = dict(settings or {})  # of config_sentence_transformers.json: prompts, similarity, dimension
        self.pools_prompt = pools_prompt
        self.pair_prompts = pair_prompts(self.settings, ("", ""))  # before sentence1 and sentence2

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        pooling: str = "",
        prompts: tuple[str, str] = ("", ""),
        max_tokens: int | None = None,
        quiet: bool = False,
        whole: bool = True,
    ) -> ConnectionBert:
        """Load an encoder from a folder: a plain BERT, or one saved by this project or by sentence-transformers.

        pooling: "" takes the folder's, mean for a plain BERT. prompts: before sentence1 and sentence2, as SENTENCE1_PROMPT and
        SENTENCE2_PROMPT; "" takes the folder's. max_tokens: None takes the folder's; it is lowered to the number
        of BERT's positions. All weights come from the folder, as float32, on the CPU; nothing is downloaded or initialised at
        random. The encoder is in evaluation mode. A missing pooler is left out, since no pooling uses it; unless `quiet`, one
        line says so. whole: with transformers' own model as `bert`, whose import takes more than a second; without it, an
        encoder of a family whose layers are computed here has its weights only, which is all that this class uses.
        Raises UserMistake if the folder lacks a file or does not hold a valid encoder.
        """
        description = inspect_encoder(folder, pooling, prompts)
        config = load_config(description)
        tokenizer = load_tokenizer(description, config)
        bert = load_model(description, config, whole=whole)
        if description.family.has_pooler and bert.pooler is None and not quiet:
            print(f"{description.weights} has no pooler; it is left out, since no pooling uses it.")
        pieces = max(tokenizer.get_vocab().values()) + 1
        if pieces < config.vocab_size and not quiet:
            print(f"{description.bert}: the vocabulary has {pieces:,} pieces, the weights are for {config.vocab_size:,}.")
        if max_tokens is not None and max_tokens < 3:
            raise UserMistake(f"max_tokens is {max_tokens}; it must be at least 3, because [CLS] and [SEP] count.")
        most_tokens = description.family.most_tokens(config)
        encoder = cls(
            bert,
            tokenizer,
            pooling=description.pooling or "mean",
            normalize=description.normalize,
            max_tokens=min(max_tokens or description.max_tokens or most_tokens, most_tokens),
            lower_case_first=description.lower_case_first,
            settings=description.settings,
            pools_prompt=description.pools_prompt,
        )
        encoder.pair_prompts = description.pair_prompts
        return encoder.eval()

    @property
    def dimension(self) -> int:
        """H, the length of an embedding in training."""
        return self.bert.config.hidden_size

    @property
    def embedding_size(self) -> int:
        """The length of the embeddings that `encode` gives."""
        return min(self.settings.get("truncate_dim") or self.dimension, self.dimension)

    @cached_property
    def compose(self) -> Composition:
        """Sentences → the same with decomposed characters composed where the vocabulary is; `tokenize` does this itself."""
        return Composition(self.tokenizer.backend_tokenizer)

    @property
    def device(self) -> torch.device:
        return self.bert.device

    @property
    def words(self) -> nn.Embedding | TrainedRows:
        """The word embeddings."""
        words = self.bert.get_input_embeddings()
        assert isinstance(words, (nn.Embedding, TrainedRows))
        return words

    def train_rows_of(self, token_ids: np.ndarray) -> None:
        """Train only the word embeddings of these tokens, which saves time and memory.

        The result is the same if training sees no other token and the optimizer has no weight decay. Call it once, after the
        encoder was moved to its device.
        """
        words = self.words
        assert isinstance(words, nn.Embedding)  # not called before
        trained = TrainedRows(words.weight.detach(), torch.from_numpy(np.unique(token_ids)).long(), words.padding_idx)
        self.bert.set_input_embeddings(trained.train(self.training))

    def weights(self) -> dict[str, Tensor]:
        """Every weight by its name in transformers' model, also after `train_rows_of`."""
        words = self.family.word_embeddings
        named = {name: weight.detach() for name, weight in self.bert.named_parameters() if name != f"{words}.rows"}
        return {f"{words}.weight": self.words.weight.detach()} | named

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the result of `weights` into the encoder's tensors. Raises ValueError if names or shapes differ."""
        own = self.weights()
        if {name: x.shape for name, x in own.items()} != {name: x.shape for name, x in weights.items()}:
            raise ValueError("these are the weights of another encoder")
        words, name = self.words, f"{self.family.word_embeddings}.weight"
        if isinstance(words, TrainedRows):
            words.load(weights[name])
            own.pop(name)
        for name, weight in own.items():
            weight.copy_(weights[name])

    def forward(self, batch: PackedBatch) -> Tensor:
        """Embeddings (N, H) of a packed batch, in the original order of its sentences."""
        positions = self.family.positions(batch.input_ids, batch.position_ids, self.bert.config)  # (T,)
        if self.runs_by_hand:
            embedded = self.family.embed(self.bert, batch.input_ids, positions)  # (T, E)
            states = packed_states(self.family, self.bert, embedded, batch.groups)  # (T, H)
            pooled = pool(states, batch.groups, self.pooling)  # (N, H)
        else:
            blocks = batch.blocks or Blocks(batch.groups, self.device)
            if self.is_composed:
                embedded = self.family.embed(self.bert, batch.input_ids, positions)  # (T, E)
                states = composed_states(self.family, self.bert, embedded, blocks)  # (T, H)
            else:
                states = self.family.states(self.bert, batch.input_ids, positions, blocks)  # (T, H)
            states = states.to(torch.promote_types(states.dtype, torch.float32))  # under autocast they are bfloat16
            pooled = pool_blocks(states, blocks, self.pooling)  # (N, H)
        embeddings = pooled.index_select(0, batch.order)  # (N, H)
        return F.normalize(embeddings, dim=1) if self.normalize else embeddings

    def rows_of(self, tokens: np.ndarray) -> np.ndarray:
        """The number of rows that are computed for packed batches, (n,). tokens: (n,) the number of tokens of each."""
        return np.array([row_count(int(count)) for count in tokens]) if self.runs_by_hand else tokens

    @property
    def runs_by_hand(self) -> bool:
        """Whether a forward pass now would compute the layers by hand."""
        return self.by_hand and runs_by_hand(self.family, self.bert)

    @property
    def is_composed(self) -> bool:
        """Whether a forward pass that is not by hand would compose the layers of torch's operations; else transformers' run."""
        return self.by_hand and is_plain(self.family, self.bert)

    def tokenize(self, sentences: Sequence[str]) -> tuple[list[np.ndarray], int]:
        """Token ids of each sentence, (T,) int32 with [CLS] and [SEP]; the number of sentences cut to `max_tokens`."""
        tokens, whole_lengths = self.tokenize_whole(sentences)
        return tokens, int((whole_lengths > self.max_tokens).sum())

    def tokenize_whole(self, sentences: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Token ids of each sentence, as `tokenize`; the number of tokens of each before it is cut to `max_tokens`, (n,)."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(self.max_tokens)
        special = backend.num_special_tokens_to_add(False)  # each of the pieces that are cut off has them too
        tokens, whole_lengths = [], []
        for part in parts(self.compose(sentences)):
            for encoding in backend.encode_batch([without_surrogates(sentence) for sentence in part]):
                tokens.append(np.array(encoding.ids, dtype=np.int32))
                whole_lengths.append(len(encoding) + sum(len(piece) - special for piece in encoding.overflowing))
        return tokens, np.array(whole_lengths, dtype=np.int64)

    def encode(self, sentences: Sequence[str], batch_size: int = MOST_SENTENCES, *, prompt: str | None = None) -> np.ndarray:
        """Embeddings of sentences, (n, H) float32, in their order. Each distinct sentence is computed once.

        batch_size: maximum number of sentences computed at once. It changes speed and memory, and embeddings only by rounding.
        prompt: the text before each sentence; None for the folder's default, which usually is none.
        Raises TypeError for a single string or an item that is not a string.
        """
        if isinstance(sentences, str):
            raise TypeError("encode takes a list of sentences; pass a single one as [sentence]")
        sentences = list(sentences)
        for i, sentence in enumerate(sentences):
            if not isinstance(sentence, str):
                raise TypeError(f"sentence {i} is {sentence!r}, not a string")
        prompt = default_prompt(self.settings) if prompt is None else prompt
        number = {sentence: i for i, sentence in enumerate(dict.fromkeys(sentences))}
        embeddings = self.encode_tokens(self.tokenize([prompt + sentence for sentence in number])[0], batch_size)
        return embeddings[[number[sentence] for sentence in sentences]]

    def encode_tokens(self, sentences: Sequence[np.ndarray], batch_size: int = MOST_SENTENCES) -> np.ndarray:
        """Embeddings of tokenised sentences, (n, H) float32, in their order. Without gradients or dropout.

        Where the folder's settings cut embeddings to fewer dimensions ("truncate_dim"), that many.
        """
        embeddings = np.empty((len(sentences), self.embedding_size), dtype=np.float32)
        most_tokens = TOKENS_AT_ONCE_ON_CPU if self.device.type == "cpu" else TOKENS_AT_ONCE_ON_CARD
        with evaluating(self), torch.inference_mode(), weights_cast_once():
            runs = list(runs_by_length(np.array([len(ids) for ids in sentences]), batch_size, most_tokens))
            batches = on_device((pack([sentences[row] for row in rows]) for rows in runs), self.device)
            computed: list[tuple[np.ndarray, Tensor]] = []  # a card computes the next batch while this one is copied
            for rows, batch in zip(runs, batches, strict=True):
                computed.append((rows, self(batch)[:, : self.embedding_size].float()))
                if len(computed) > 1 or self.device.type == "cpu":
                    done, vectors = computed.pop(0)
                    embeddings[done] = vectors.cpu().numpy()
            for done, vectors in computed:
                embeddings[done] = vectors.cpu().numpy()
        return embeddings

    def save(self, folder: str | Path) -> None:
        """Save the encoder to `folder`, in the format that sentence-transformers (2 or later) and `ConnectionBert.load` read.

        Other files in an existing folder are kept. Only weights, vocabulary and settings are written.
        """
        folder = Path(folder)
        durable.make_folder(folder)
        weights = {name: tensor.float() for name, tensor in self.weights().items()}
        config = type(self.bert.config).from_dict(self.bert.config.to_dict())
        config.architectures, config.dtype = [self.family.model_class], torch.float32
        durable.replace_file(folder / "config.json", [config.to_json_string().encode()])
        durable.replace_file(folder / "model.safetensors", safetensors_chunks(weights))
        save_tokenizer(folder, self.tokenizer, max_tokens=self.max_tokens, inputs=self.family.inputs)
        write_sentence_files(
            folder,
            pooling=self.pooling,
            normalize=self.normalize,
            max_tokens=self.max_tokens,
            hidden=self.dimension,
            lower_case_first=self.lower_case_first,
            settings=with_pair_prompts(self.settings, self.pair_prompts),
            pools_prompt=self.pools_prompt,
        )


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) within a `with` block; afterwards the previous mode."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
