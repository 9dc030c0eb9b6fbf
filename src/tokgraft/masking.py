"""Hide secrets in text that is logged, shown in an error, or written into a file: passwords, tokens and keys become `***`.

Where a secret cannot be told from other text, it is hidden: a log that hides too much is a nuisance, one that hides too little is a leak.
"""

from __future__ import annotations

import re

HIDDEN = "***"

# Names whose value is a secret. `token` alone is none of them: eos_token, new_tokens and token_vectors are settings of ours.
_NAME = (
    r"(?:(?:access|api|auth|bearer|client|github|gitlab|hf|hub|id|oauth|private|refresh|sas|security|session|tracking)[_-]?token"
    r"|passw(?:or)?d|passphrase|pwd|secret|credentials?|signature|connection[_-]?string"
    r"|(?:access|account|api|private|secret|shared|storage)[_-]?key(?:[_-]?id)?)"
)
_PREFIX = r"(?:[a-z0-9]{1,30}[_-]){0,8}"
# A word of a shell command: quoted parts may hold spaces.
_WORD = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""

_RULES = [
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        # user:password@host. The password may hold / @ ? and #, so it ends at the last @ of the word.
        (r"""(://)[^\s"/@:]{0,300}:[^\s"]{0,500}@""", rf"\1{HIDDEN}@"),
        # TOKEN@host; not ssh://me@host, where one logs in by key.
        (r"""((?<!ssh)(?<!sftp)://)[^\s"/@]{1,800}@""", rf"\1{HIDDEN}@"),
        # TOKEN@host with a / in the token, so that it looks like a path: a host name has a dot.
        (r"""(https?://)(?!localhost/)[^\s"/@.:]{1,500}/[^\s"@]{0,500}@""", rf"\1{HIDDEN}@"),
        # ?token=X, &X-Amz-Signature=X, &sig=X
        (
            r"""([?&;](?:[\w.%-]{0,60}(?:token|secret|passw|pwd|auth|signature|credential)[\w.%-]{0,60}|(?:[\w.%-]{0,60}[_-])?(?:key|sig))=)"""
            r"""[^&;\s"'#]+""",
            rf"\1{HIDDEN}",
        ),
        # --token X, --storage-s3-secret-key=X
        (rf"(?<!\S)(--?{_PREFIX}(?:token|{_NAME})(?:=|\s+)){_WORD}", rf"\1{HIDDEN}"),
        # TOKEN=X; AWS_SECRET_ACCESS_KEY=X, password = X, "secret_access_key": "X"
        (rf"(?-i:\b(TOKEN=)){_WORD}", rf"\1{HIDDEN}"),
        (rf"""\b({_PREFIX}{_NAME}(?:["']\s*:|["']?\s*=)\s*)(?:"[^"]*"|'[^']*'|[^\s"',&}}]+)""", rf"\1{HIDDEN}"),
        (r"""(\bauthorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token|digest)\s+)?)[^\s"']+""", rf"\1{HIDDEN}"),
        # Known by their shape: keys of Hugging Face, AWS, GitHub, GitLab.
        (r"(?-i:\b(?:hf_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}))", HIDDEN),
    )
]


def masked(text: str) -> str:
    """The text with `***` in the place of each secret.

    Hidden are, in an address, user and password (`https://me:pass@host`, `https://TOKEN@host`) and query values such as `?token=X`;
    the values of flags (`--token X`), variables (`AWS_SECRET_ACCESS_KEY=X`) and settings (`"password": "X"`) that are named like one;
    and keys known by their shape (`hf_...`, `AKIA...`).
    """
    for pattern, shown in _RULES:
        text = pattern.sub(shown, text)
    return text
