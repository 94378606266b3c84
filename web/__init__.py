"""The window: an institution's portal and the operator's console over aiohttp.

Started by `riverbank web run`; folds topics into read models (`readmodels/`), answers the API and renders pages.
Never learns, masks or opens anything: it sees the protocol's vocabulary and scores with published models."""
