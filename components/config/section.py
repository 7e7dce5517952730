"""What every section of the configuration is: frozen, and without options that nobody declared."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of options; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
