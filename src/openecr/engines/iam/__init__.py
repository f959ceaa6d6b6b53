"""IAM's policy engine, pure: validates and compiles documents, decides questions, words denials."""

from openecr.engines.iam.decisions import PolicySet, decide
from openecr.engines.iam.documents import DocumentKind, MalformedPolicy, actions_of, principals_of, validate
from openecr.engines.iam.lint import KnownActions, lint
from openecr.engines.iam.patterns import UNDECIDED, ContextKeys
from openecr.engines.iam.policies import Policy, Question, compile_policy
from openecr.engines.iam.principals import Principal, PrincipalType
from openecr.engines.iam.sentences import denial_sentence

__all__ = [
    "UNDECIDED",
    "ContextKeys",
    "DocumentKind",
    "KnownActions",
    "MalformedPolicy",
    "Policy",
    "PolicySet",
    "Principal",
    "PrincipalType",
    "Question",
    "actions_of",
    "compile_policy",
    "decide",
    "denial_sentence",
    "lint",
    "principals_of",
    "validate",
]
